"""The vision transformer, and its parameters; the text tower shares its blocks.

B batch, T queries, P patches in h rows and w columns, p x q pixels of a patch with C channels,
D width, N heads, H head dim, F mlp width, E width of the output, R of what its head reads.
"""
import flax.linen as nn
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from big_vlm.families.siglip import naflex
from big_vlm.families.siglip.variants import ViTConfig
from big_vlm.families.spec import ParamSpec, dense, layer_norm
from big_vlm.nn import attention, layers, partitioning


def block_rows(name, layers="", when=None):
  """The rows of an attention and an MLP; layers: "L " where they are stacked."""
  attn, mlp = f"{name}/MultiHeadDotProductAttention_0", f"{name}/MlpBlock_0"
  return {
      **dense(f"{attn}/query", layers + "D N H", "D", when),
      **dense(f"{attn}/key", layers + "D N H", "D", when),
      **dense(f"{attn}/value", layers + "D N H", "D", when),
      **dense(f"{attn}/out", layers + "N H D", "NH", when),
      **dense(f"{mlp}/Dense_0", layers + "D F", "D", when),
      **dense(f"{mlp}/Dense_1", layers + "F D", "F", when),
  }


_POOLED = lambda config: config.pool == "map"

PARAMS = {
    "embedding/kernel": ParamSpec("p q C D", "patch", ins="pqC"),
    "embedding/bias": ParamSpec("D", "bias"),
    "pos_embedding": ParamSpec("1 P D", "position", when=lambda c: c.positions == "learn"),
    "cls": ParamSpec("1 1 D", "probe", when=lambda c: c.pool == "tok"),
    **layer_norm("Transformer/encoderblock/LayerNorm_0", "L D"),
    **layer_norm("Transformer/encoderblock/LayerNorm_1", "L D"),
    **block_rows("Transformer/encoderblock", "L "),
    **layer_norm("Transformer/encoder_norm", "D"),
    "MAPHead_0/probe": ParamSpec("1 1 D", "probe", when=_POOLED),
    **layer_norm("MAPHead_0/LayerNorm_0", "D", when=_POOLED),
    **block_rows("MAPHead_0", when=_POOLED),
    **dense("pre_logits", "D R", "D", when=lambda config: bool(config.rep_size)),
    **dense("head", "R E", "R", when=lambda config: bool(config.out_width)),
}
# Parts of the model in a profile, by the names of operations; the first that matches counts.
PLACES = (
    ("attention", r"/img/.*(attend|pallas_call|MultiHeadDotProductAttention_0/(B|reduce|exp|div))"),
    ("MLP", r"/img/.*MlpBlock"), ("query, key, value, out", r"/img/.*MultiHead"),
    ("other", r"/img/"))


def axis_sizes(config):
  return dict(p=config.patch, q=config.patch, C=3, P=config.patches, L=config.depth,
              D=config.width, N=config.heads, H=config.head_dim, F=config.mlp, E=config.out_width,
              R=config.rep_size or config.width)


def sincos2d(side, width):
  """float32 [1, side * side, width]: sines and cosines of the column, then of the row, at width / 4
  frequencies from 1 down to 1 / 10,000 (arXiv 2104.02057, as big_vision's ViT has them)."""
  rates = 10_000. ** -(jnp.arange(width // 4) / (width // 4 - 1))
  row, column = (x.reshape(-1, 1) * rates[None] for x in jnp.mgrid[:side, :side])
  waves = [jnp.sin(column), jnp.cos(column), jnp.sin(row), jnp.cos(row)]
  return jnp.concatenate(waves, axis=1)[None]


class Attention(nn.Module):
  """Queries x [B, T, D] read y [B, P, D], or what bool valid [B, P] says of it."""
  config: ViTConfig

  @nn.compact
  def __call__(self, x, y, valid=None):
    c, heads = self.config, (self.config.heads, self.config.head_dim)
    project = lambda name, z: checkpoint_name(
        layers.Dense("BPD,DNH->BPNH", (c.width,), heads, name=name)(z), layers.MODEL_WIDTH)
    q, k, v = project("query", x), project("key", y), project("value", y)
    kernel = "einsum"
    if x.shape == y.shape and not self.is_mutable_collection("intermediates"):
      kernel = attention.select_kernel(c.attention, x.shape[1], c.head_dim, dtype=c.dtype,
                                       masked=valid is not None)
    y = attention.attend(q * c.head_dim**-0.5, k, v, attention.bidirectional(kernel, valid),
                         capture=lambda probs: self.sow("intermediates", "attention", probs))
    out = layers.Dense("BPNH,NHD->BPD", heads, (c.width,), name="out")
    return checkpoint_name(out(y), layers.MODEL_WIDTH)


class MlpBlock(nn.Module):
  config: ViTConfig
  train: bool

  @nn.compact
  def __call__(self, x):
    c, small = self.config, nn.initializers.normal(1e-6)
    x = layers.Dense("BPD,DF->BPF", (c.width,), (c.mlp,), bias_init=small, name="Dense_0")(x)
    x = checkpoint_name(x, layers.MLP_WIDTH)
    x = nn.Dropout(c.dropout, deterministic=not self.train)(nn.gelu(x))
    return layers.Dense("BPF,FD->BPD", (c.mlp,), (c.width,), bias_init=small, name="Dense_1")(x)


class EncoderBlock(nn.Module):
  config: ViTConfig
  train: bool

  @nn.compact
  def __call__(self, x, valid):
    c = self.config
    drop = nn.Dropout(c.dropout, deterministic=not self.train)
    y = layers.LayerNorm(name="LayerNorm_0")(x)
    y = Attention(c, name="MultiHeadDotProductAttention_0")(y, y, valid)
    x = partitioning.shard_activations(x + drop(y))
    y = MlpBlock(c, self.train, name="MlpBlock_0")(layers.LayerNorm(name="LayerNorm_1")(x))
    x = partitioning.shard_activations(x + drop(y))
    self.sow("intermediates", "hidden", x)
    return x, None


class Encoder(nn.Module):
  """[B, P, D] -> [B, P, D]; padding, where bool valid [B, P] is False, is seen by nothing."""
  config: ViTConfig

  @nn.compact
  def __call__(self, x, train, valid=None):
    blocks = layers.stacked(EncoderBlock, self.config, train, nn.broadcast)
    x, _ = blocks(self.config, train, name="encoderblock")(x, valid)
    return layers.LayerNorm(name="encoder_norm")(x)


class MAPHead(nn.Module):
  """[B, P, D] -> [B, D]: attention of a learned probe, then an MLP; no residual from the probe."""
  config: ViTConfig
  train: bool

  @nn.compact
  def __call__(self, x, valid=None):
    c = self.config
    probe = self.param("probe", nn.initializers.xavier_uniform(), (1, 1, c.width), jnp.float32)
    probe = jnp.broadcast_to(probe.astype(x.dtype), (len(x), 1, c.width))
    y = Attention(c, name="MultiHeadDotProductAttention_0")(probe, x, valid)
    z = layers.LayerNorm(name="LayerNorm_0")(y)
    return (y + MlpBlock(c, self.train, name="MlpBlock_0")(z))[:, 0]


class ViT(nn.Module):
  config: ViTConfig

  @nn.compact
  def __call__(self, image, train=False, grid=None):
    """uint8 0..255 or float [-1, 1] image [B, H, W, 3] -> [B, P, out_width or width].

    Pooled, it is [B, out_width or width]. A NaFlex tower takes float patches [B, P, p * q * C] and
    their grid, int32 [B, 2]: rows and columns of each image, whose patches come first.
    """
    c, valid = self.config, None
    patches = self._patches(image, grid)
    letters = "BP" if c.naflex else "Bhw"
    embed = layers.Dense(f"{letters.replace('hw', 'hpwq').replace('P', 'Ppq')}C,pqCD->{letters}D",
                         (c.patch, c.patch, 3), (c.width,), nn.initializers.lecun_normal(),
                         name="embedding")
    x = embed(patches).reshape(len(image), -1, c.width)
    if c.positions == "sincos2d":
      table = sincos2d(c.image_size // c.patch, c.width)
    else:
      table = self.param("pos_embedding", nn.initializers.normal(c.width**-0.5),
                         (1, c.patches, c.width), jnp.float32)
    if c.naflex:
      table = naflex.positions(table[0], grid, x.shape[1])
      valid = naflex.valid(grid, x.shape[1])
    x = x + table
    if c.pool == "tok":
      token = self.param("cls", nn.initializers.zeros, (1, 1, c.width), jnp.float32)
      x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, c.width)), x], axis=1)
    x = nn.Dropout(c.dropout, deterministic=not train)(x)
    x = partitioning.shard_activations(x.astype(c.dtype))
    self.sow("intermediates", "embedded", x)
    x = Encoder(c, name="Transformer")(x, train, valid)
    self.sow("intermediates", "encoded", x)
    if c.pool == "map":
      x = MAPHead(c, train, name="MAPHead_0")(x, valid)
    elif c.pool != "none":
      x = x[:, 0] if c.pool == "tok" else jnp.mean(x, axis=1)
    if c.rep_size:
      x = nn.tanh(layers.Dense("...D,DR->...R", (c.width,), (c.rep_size,), name="pre_logits")(x))
    if c.out_width:
      x = layers.Dense("...R,RE->...E", (x.shape[-1],), (c.out_width,),
                       nn.initializers.zeros if c.zero_head else nn.initializers.lecun_normal(),
                       name="head")(x)
    self.sow("intermediates", "features", x)
    return x

  def _patches(self, image, grid):
    """float32 [B, h, p, w, q, C]; NaFlex: [B, P, p, q, C]."""
    c, p = self.config, self.config.patch
    if c.naflex:
      if grid is None or image.ndim != 3 or image.shape[2] != p * p * 3:
        raise ValueError(f"A NaFlex tower takes patches [B, P, {p * p * 3}] and their grid [B, 2], "
                         f"not {list(image.shape)}: pp/naflex.py makes them of an image.")
      return image.astype(jnp.float32).reshape(*image.shape[:2], p, p, 3)
    if image.shape[1:] != (c.image_size, c.image_size, 3):
      raise ValueError(f"The vision tower takes images of [{c.image_size}, {c.image_size}, 3], not "
                       f"{list(image.shape[1:])}: resize them (pp: 'resize({c.image_size})').")
    if image.dtype == jnp.uint8:
      image = image.astype(jnp.float32) / 127.5 - 1
    side = c.image_size // p
    image = image[:, :side * p, :side * p].astype(jnp.float32)  # a conv's VALID rest
    return image.reshape(-1, side, p, side, p, 3)
