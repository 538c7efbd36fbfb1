"""SigLIP's text tower, and its parameters.

Its blocks are the image tower's. All tokens see all, padding included, and the last one, padding or
eos, gives the text's vector.

B batch, T tokens, V vocabulary, D width, E width of the output.
"""
import flax.linen as nn
import jax.numpy as jnp

from big_vlm.families.siglip import model as vision
from big_vlm.families.siglip.text.variants import TextConfig
from big_vlm.families.spec import ParamSpec, dense, layer_norm
from big_vlm.nn import layers, partitioning

PARAMS = {
    "Embed_0/embedding": ParamSpec("V D", "table"),
    "pos_embedding": ParamSpec("1 P D", "position"),
    **layer_norm("Encoder_0/encoderblock/LayerNorm_0", "L D"),
    **layer_norm("Encoder_0/encoderblock/LayerNorm_1", "L D"),
    **vision.block_rows("Encoder_0/encoderblock", "L "),
    **layer_norm("Encoder_0/encoder_norm", "D"),
    **dense("head", "D E", "D", when=lambda config: bool(config.out_width)),
}
# Parts of the model in a profile, by the names of operations; the first that matches counts.
PLACES = tuple((part, regex.replace("/img/", "/txt/")) for part, regex in vision.PLACES)
_TABLE_INIT = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)


def axis_sizes(config):
  return dict(V=config.vocab_size, P=config.length, L=config.depth, D=config.width,
              N=config.heads, H=config.head_dim, F=config.mlp, E=config.out_width)


class Embed(nn.Module):
  config: TextConfig

  @nn.compact
  def __call__(self, text):
    c = self.config
    table = self.param("embedding", _TABLE_INIT, (c.vocab_size, c.width), jnp.float32)
    return layers.lookup(table, text)


class TextTower(nn.Module):
  config: TextConfig

  @nn.compact
  def __call__(self, text, train=False):
    """int32 text [B, T], padded to the config's length -> [B, out_width or width]."""
    c = self.config
    if text.shape[1] != c.length:
      raise ValueError(f"The text tower takes {c.length} tokens, padding included, not "
                       f"{text.shape[1]}: another length gives another vector.")
    x = Embed(c, name="Embed_0")(text).astype(jnp.float32)
    x = x + self.param("pos_embedding", nn.initializers.normal(c.width**-0.5),
                       (1, c.length, c.width), jnp.float32)
    x = nn.Dropout(c.dropout, deterministic=not train)(x)
    x = partitioning.shard_activations(x.astype(c.dtype))
    self.sow("intermediates", "embedded", x)
    x = vision.Encoder(c, name="Encoder_0")(x, train)
    self.sow("intermediates", "encoded", x)
    x = x[:, -1]
    if c.out_width:
      x = layers.Dense("...D,DE->...E", (c.width,), (c.out_width,),
                       nn.initializers.lecun_normal(), name="head")(x)
    self.sow("intermediates", "features", x)
    return x
