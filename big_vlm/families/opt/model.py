"""OPT (arXiv 2205.01068), the pre-norm sizes: a variant is a row of VARIANTS.

B batch, T tokens, D width, N heads, H head dim, F mlp width, V vocabulary. The interface is that
of gemma.Gemma, so a decoder of either kind serves in a PaliGemma.
"""
import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from big_vlm import sharding
from big_vlm.nn import attention, layers, variants
from big_vlm.nn.kv_cache import KVCache


@dataclasses.dataclass(frozen=True)
class OPTConfig:
  width: int
  depth: int
  mlp: int
  heads: int
  vocab_size: int = 50_272
  max_positions: int = 2048  # rows of the position table
  dropout: float = 0.0
  dtype: str = "float32"  # as in gemma.py, which has the next three as well
  remat: str = "full"
  attention: str = "auto"
  unroll: int = 1
  eos_token: ClassVar[int] = 2  # where there is no tokenizer to ask

  def __post_init__(self):
    attention.check(self.attention)
    layers.check_remat(self.remat)

  @property
  def head_dim(self):
    return self.width // self.heads


# opt-350m is no row: it is post-norm, with narrower embeddings.
VARIANTS = {
    "opt_tiny": OPTConfig(32, 2, 64, 4, vocab_size=128, max_positions=64),
    "opt_125m": OPTConfig(768, 12, 3_072, 12),
    "opt_1.3b": OPTConfig(2048, 24, 8_192, 32),
    "opt_2.7b": OPTConfig(2560, 32, 10_240, 32),
    "opt_6.7b": OPTConfig(4096, 32, 16_384, 32),
}
_INIT = nn.initializers.normal(0.006)  # section 2.2


def config(variant, **changes):
  """OPTConfig of a row of VARIANTS with some fields changed."""
  return variants.config(VARIANTS, "OPT variant", variant, **changes)


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
    q, k, v = (layers.keep(layers.Dense("BTD,DNH->BTNH", (c.width,), heads, _INIT, name=name)(x))
               for name in ("query", "key", "value"))
    if cache is not None:
      cache = cache.write(layer, k, v)
      k, v = cache.read(layer, x.dtype)
    y = attention.attend(q * c.head_dim**-0.5, k, v, mask,
                         tap=lambda probs: self.sow("intermediates", "attention", probs))
    out = layers.Dense("BTNH,NHD->BTD", heads, (c.width,), _out_init(c), name="out")
    return layers.keep(out(y)), cache


class Mlp(nn.Module):
  config: OPTConfig

  @nn.compact
  def __call__(self, x):
    c = self.config
    x = layers.Dense("BTD,DF->BTF", (c.width,), (c.mlp,), _INIT, name="Dense_0")(x)
    x = nn.relu(layers.keep(x, layers.WIDE))
    return layers.Dense("BTF,FD->BTD", (c.mlp,), (c.width,), _out_init(c), name="Dense_1")(x)


class Block(nn.Module):
  config: OPTConfig
  train: bool

  @nn.compact
  def __call__(self, carry, layer, mask):
    c, (x, cache) = self.config, carry
    drop = nn.Dropout(c.dropout, deterministic=not self.train)
    y, cache = Attention(c, name="attn")(_norm("attn_norm")(x), mask, layer, cache)
    x = sharding.shard_activations(x + drop(y))
    x = sharding.shard_activations(x + drop(Mlp(c, name="mlp")(_norm("mlp_norm")(x))))
    self.sow("intermediates", "hidden", x)
    return (x, cache), None


class Embedder(nn.Module):
  config: OPTConfig

  def setup(self):
    c = self.config
    self.input_embedding = self.param("input_embedding", _INIT, (c.vocab_size, c.width))
    self.pos_embedding = self.param("pos_embedding", _INIT, (c.max_positions, c.width))

  def encode(self, text):
    return layers.lookup(self.input_embedding, text).astype(self.config.dtype)

  def add_position(self, x, position):
    """x [B, T, D] plus a row of the table each; padding before the first token has position -1."""
    return (x.astype(jnp.float32) + self.pos_embedding[jnp.maximum(position, 0)]).astype(x.dtype)

  def decode(self, x):
    return layers.tied_head(x, self.input_embedding)


class OPT(nn.Module):
  """A decoder over embeddings: x [B, T, D] -> hidden states [B, T, D] -> logits."""
  config: OPTConfig

  def setup(self):
    self.embedder = Embedder(self.config)
    self.final_norm = layers.LayerNorm(eps=1e-5)

  def embed(self, text):
    """int32 [B, T] -> [B, T, D], without positions, which image tokens share: see __call__."""
    return self.embedder.encode(text)

  def positioned(self, x, tokens):
    """What the first block reads: x with the positions added."""
    return self.embedder.add_position(x, tokens.position)

  block = Block

  @staticmethod
  def block_args(config, tokens, keys, kernel="einsum"):
    """As in gemma.py."""
    del config
    return (attention.masks(kernel, tokens, keys)["global"],)

  @nn.compact
  def __call__(self, x, tokens, cache: KVCache | None = None, train: bool = False) -> Any:
    """x [B, T, D], tokens [B, T] -> (hidden states after the final norm [B, T, D], cache).

    With a cache, x continues what the cache holds. Raises ValueError where more tokens, padding
    included, are given than the position table has rows.
    """
    c = self.config
    self._check_length(x.shape[1])
    if cache is not None:
      cache = cache.seat(tokens)
    x = self.positioned(x, tokens)
    self.sow("intermediates", "embedded", x)
    kernel = "einsum"
    if cache is None and not self.is_mutable_collection("intermediates"):
      kernel = attention.select_kernel(c.attention, x.shape[1], c.head_dim, dtype=c.dtype)
    blocks = layers.stacked(Block, c, train, in_axes=(0, nn.broadcast))
    (x, cache), _ = blocks(c, train, name="layers")(
        (x, cache), jnp.arange(c.depth),
        *self.block_args(c, tokens, tokens if cache is None else cache.tokens, kernel))
    return self.final_norm(x), cache

  def logits(self, hidden):
    """[..., D] -> float32 [..., V]."""
    return self.embedder.decode(hidden)

  def empty_cache(self, batch, slots, dtype):
    """Raises ValueError where the slots are more than the position table has rows."""
    c = self.config
    self._check_length(slots)
    return KVCache.empty(c.depth, batch, slots, c.heads, c.head_dim, dtype)

  def _check_length(self, length):
    if length > self.config.max_positions:
      raise ValueError(
          f"{length} tokens (image, text, padding and new ones) do not fit into the position table "
          f"of this OPT, which has {self.config.max_positions} rows: shorten the prompt or ask for "
          "fewer new tokens.")
