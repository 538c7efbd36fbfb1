"""OPT's decoder, and its parameters.

B batch, T tokens, S keys, D width, N heads, H head dim, F mlp width, V vocabulary, E width of the
embedding table.
"""
import flax.linen as nn
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from big_vlm.families.opt.variants import OPTConfig
from big_vlm.families.spec import ParamSpec, dense, layer_norm
from big_vlm.nn import attention, decoder, layers, partitioning

_PROJECTED = lambda config: bool(config.embed_width)

PARAMS = {
    "embedder/input_embedding": ParamSpec("V E", "embedding", ins="E"),
    "embedder/project_in": ParamSpec("E D", "projection", ins="E", when=_PROJECTED),
    "embedder/pos_embedding": ParamSpec("P D", "position"),
    **layer_norm("layers/attn_norm", "L D"),
    **dense("layers/attn/query", "L D N H", ins="D"),
    **dense("layers/attn/key", "L D N H", ins="D"),
    **dense("layers/attn/value", "L D N H", ins="D"),
    **dense("layers/attn/out", "L N H D", ins="NH"),
    **layer_norm("layers/mlp_norm", "L D"),
    **dense("layers/mlp/Dense_0", "L D F", ins="D"),
    **dense("layers/mlp/Dense_1", "L F D", ins="F"),
    **layer_norm("final_norm", "D", when=lambda config: not config.post_norm),
    "embedder/project_out": ParamSpec("D E", "projection", ins="D", when=_PROJECTED),
}

# Parts of the model in a profile, by the names of operations; the first that matches counts.
PLACES = (
    ("MLP", r"/layers/mlp/"), ("query, key, value, out", r"/attn/(query|key|value|out)"),
    ("attention", r"/attn/"), ("norms, other", r"/layers/"))


def axis_sizes(config):
  return dict(V=config.vocab_size, P=config.max_positions, L=config.depth, D=config.width,
              N=config.heads, H=config.head_dim, F=config.mlp,
              E=config.embed_width or config.width)


_INIT = nn.initializers.normal(0.006)  # section 2.2


def _norm(name):
  return layers.LayerNorm(eps=1e-5, name=name)


def _out_init(config):
  """Init of what a block adds to its input, smaller the deeper the model is (section 2.2)."""
  return nn.initializers.normal(0.006 / (2 * config.depth) ** 0.5)


class Attention(nn.Module):
  config: OPTConfig

  @nn.compact
  def __call__(self, x, mask, layer, cache):
    c, heads = self.config, (self.config.heads, self.config.head_dim)
    project = lambda name: checkpoint_name(
        layers.Dense("BTD,DNH->BTNH", (c.width,), heads, _INIT, name=name)(x), layers.MODEL_WIDTH)
    q, k, v = map(project, ("query", "key", "value"))
    if cache is not None:
      cache = cache.write(layer, k, v)
      k, v = cache.read(layer, x.dtype)
    y = attention.attend(q * c.head_dim**-0.5, k, v, mask,
                         capture=lambda probs: self.sow("intermediates", "attention", probs))
    out = layers.Dense("BTNH,NHD->BTD", heads, (c.width,), _out_init(c), name="out")
    return checkpoint_name(out(y), layers.MODEL_WIDTH), cache


class Mlp(nn.Module):
  config: OPTConfig

  @nn.compact
  def __call__(self, x):
    c = self.config
    x = layers.Dense("BTD,DF->BTF", (c.width,), (c.mlp,), _INIT, name="Dense_0")(x)
    x = nn.relu(checkpoint_name(x, layers.MLP_WIDTH))
    return layers.Dense("BTF,FD->BTD", (c.mlp,), (c.width,), _out_init(c), name="Dense_1")(x)


class Block(nn.Module):
  config: OPTConfig
  train: bool

  @nn.compact
  def __call__(self, carry, layer, mask):
    c, (x, cache) = self.config, carry
    drop = nn.Dropout(c.dropout, deterministic=not self.train)
    same = lambda x: x
    norm, mlp_norm = _norm("attn_norm"), _norm("mlp_norm")
    before, after = (same, norm) if c.post_norm else (norm, same)
    y, cache = Attention(c, name="attn")(before(x), mask, layer, cache)
    x = partitioning.shard_activations(after(x + drop(y)))
    before, after = (same, mlp_norm) if c.post_norm else (mlp_norm, same)
    x = partitioning.shard_activations(after(x + drop(Mlp(c, name="mlp")(before(x)))))
    self.sow("intermediates", "hidden", x)
    return (x, cache), None


class Embedder(nn.Module):
  config: OPTConfig

  def setup(self):
    c = self.config
    width = c.embed_width or c.width
    self.input_embedding = self.param("input_embedding", _INIT, (c.vocab_size, width))
    if c.embed_width:
      self.project_in = self.param("project_in", _INIT, (width, c.width))
      self.project_out = self.param("project_out", _INIT, (c.width, width))
    self.pos_embedding = self.param("pos_embedding", _INIT, (c.max_positions, c.width))

  def encode(self, text):
    return self.scale(layers.lookup(self.input_embedding, text).astype(self.config.dtype))

  def scale(self, x):
    """Rows of the table -> what the first block reads, but for positions."""
    return layers.einsum("...E,ED->...D", x, self.project_in) if self.config.embed_width else x

  def add_position(self, x, position):
    """x [B, T, D] plus a row of the table each; padding before the first token has position -1."""
    return (x.astype(jnp.float32) + self.pos_embedding[jnp.maximum(position, 0)]).astype(x.dtype)

  def decode(self, x):
    if self.config.embed_width:
      x = layers.einsum("...D,DE->...E", x, self.project_out)
    return layers.tied_head(x, self.input_embedding, "E")


class OPT(decoder.Decoder):
  """Raises ValueError where the tokens, padding and cache included, are more than the position
  table has rows."""
  config: OPTConfig
  block = Block

  def setup(self):
    self.embedder = Embedder(self.config)
    self.final_norm = (lambda x: x) if self.config.post_norm else layers.LayerNorm(eps=1e-5)

  def positioned(self, x, tokens):
    self._check_length(x.shape[1])
    return self.embedder.add_position(x, tokens.position)

  @staticmethod
  def block_args(config, tokens, keys, kernel="einsum"):
    del config
    return (attention.masks(kernel, tokens, keys)["global"],)

  def empty_cache(self, batch, length, dtype):
    self._check_length(length)
    return super().empty_cache(batch, length, dtype)

  def _check_length(self, length):
    if length > self.config.max_positions:
      raise ValueError(
          f"{length} tokens (image, text, padding and new ones) do not fit into the position table "
          f"of this OPT, which has {self.config.max_positions} rows: shorten the prompt or ask for "
          "fewer new tokens.")
