"""Gemma 1 and 2 (arXiv 2403.08295, 2408.00118): a variant is a row of VARIANTS.

B batch, T tokens, D width, N query heads, K kv heads, H head dim, F mlp width, V vocabulary.
One road to logits: __call__ serves training (no cache), prefill (cache, many tokens) and a decode
step (cache, one token).
"""
import dataclasses
import functools
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from big_vlm import sharding
from big_vlm.nn import attention, layers, variants
from big_vlm.nn.kv_cache import KVCache
from pp.names import pick


@dataclasses.dataclass(frozen=True)
class GemmaConfig:
  width: int
  depth: int
  mlp: int
  heads: int
  kv_heads: int
  head_dim: int
  vocab_size: int = 256_000
  query_scale: float | None = None  # None: head_dim ** -0.5
  post_norms: bool = False
  attn_softcap: float | None = None
  final_softcap: float | None = None
  window: int | None = None  # of the even layers; None: all layers are global
  window_rule: str = "two_sided"  # a row of attention.WINDOW_RULES
  dropout: float = 0.0
  dtype: str = "float32"  # of activations; parameters, norms, softmax and logits are float32
  remat: str = "full"  # a row of layers.REMAT
  attention: str = "auto"  # a row of attention.KERNELS, or "auto", the best here and now
  unroll: int = 1  # layers per round of the scan; all of a small model on a CPU is 20 % faster
  eos_token: ClassVar[int] = 1  # where there is no tokenizer to ask
  max_positions: ClassVar[int] = 8192  # what it was trained on at most

  def __post_init__(self):
    pick(attention.WINDOW_RULES, self.window_rule, "window rule")
    attention.check(self.attention)
    layers.check_remat(self.remat)


_GEMMA2 = dict(post_norms=True, attn_softcap=50., final_softcap=30., window=4096)
VARIANTS = {
    "tiny": GemmaConfig(32, 2, 64, 4, 1, 16, vocab_size=128),
    "tiny2": GemmaConfig(32, 3, 64, 4, 2, 8, vocab_size=128, **{**_GEMMA2, "window": 6}),
    "gemma_2b": GemmaConfig(2048, 18, 16_384, 8, 1, 256),
    "gemma_7b": GemmaConfig(3072, 28, 24_576, 16, 16, 256),
    "gemma2_2b": GemmaConfig(2304, 26, 9_216, 8, 4, 256, **_GEMMA2),
    "gemma2_9b": GemmaConfig(3584, 42, 14_336, 16, 8, 256, **_GEMMA2),
    # 27B divides by the width per head, 144, where the others divide by head_dim.
    "gemma2_27b": GemmaConfig(4608, 46, 36_864, 32, 16, 128, query_scale=144**-0.5, **_GEMMA2),
    # Gemma 2 without post norms, caps and local layers, trained on 1,024 tokens. The released
    # config.json has sliding_window 512 and makes all its layers full_attention; the defaults of
    # transformers' VaultGemmaConfig (caps 50 and 30, every other layer local) are not its values.
    "vault_gemma_1b": GemmaConfig(1152, 26, 6_912, 4, 4, 256),
}


def config(variant, **changes):
  """GemmaConfig of a row of VARIANTS with some fields changed."""
  return variants.config(VARIANTS, "Gemma variant", variant, **changes)


class Attention(nn.Module):
  config: GemmaConfig

  @nn.compact
  def __call__(self, x, tokens, mask, layer, cache):
    c = self.config
    if c.kv_heads == c.heads:
      qkv = layers.Weight((3, c.heads, c.width, c.head_dim), layers.fan_in(-2, (-4, -3)),
                          name="qkv_einsum")
      q, k, v = jnp.moveaxis(qkv("BTD,XNDH->BTXNH", x), 2, 0)
    else:
      q = layers.Weight((c.heads, c.width, c.head_dim), layers.fan_in(-2, -3), name="q_einsum")
      kv = layers.Weight((2, c.kv_heads, c.width, c.head_dim), layers.fan_in(-2, (-4, -3)),
                         name="kv_einsum")
      q, (k, v) = q("BTD,NDH->BTNH", x), jnp.moveaxis(kv("BTD,XKDH->BTXKH", x), 2, 0)
    q = attention.rope(q, tokens.position) * (c.query_scale or c.head_dim**-0.5)
    q, k, v = layers.keep(q), layers.keep(attention.rope(k, tokens.position)), layers.keep(v)
    if cache is not None:
      cache = cache.write(layer, k, v)
      k, v = cache.read(layer, x.dtype)
    y = attention.attend(q, k, v, mask, c.attn_softcap,
                         tap=lambda probs: self.sow("intermediates", "attention", probs))
    out = layers.Weight((c.heads, c.head_dim, c.width), layers.fan_in((-3, -2)),
                        name="attn_vec_einsum")
    return layers.keep(out("BTNH,NHD->BTD", y)), cache


class Mlp(nn.Module):
  """down(gelu(gate(x)) * up(x)), tanh-GELU."""
  config: GemmaConfig

  @nn.compact
  def __call__(self, x):
    c = self.config
    gating = self.param("gating_einsum", layers.fan_in(-2, -3), (2, c.width, c.mlp))
    linear = self.param("linear", layers.fan_in(-2), (c.mlp, c.width))
    wide = layers.keep(layers.einsum("BTD,XDF->BTXF", x, gating), layers.WIDE)
    gate, up = jnp.moveaxis(wide, 2, 0)
    return layers.keep(layers.einsum("BTF,FD->BTD", nn.gelu(gate) * up, linear))


class Block(nn.Module):
  config: GemmaConfig
  train: bool

  @nn.compact
  def __call__(self, carry, layer, tokens, masks):
    c, (x, cache) = self.config, carry
    norm = lambda name, y: layers.RMSNorm(name=name)(y)
    post = norm if c.post_norms else lambda name, y: y
    drop = nn.Dropout(c.dropout, deterministic=not self.train)
    mask = masks["global"]
    if c.window is not None:  # even layers are local
      mask = jax.tree.map(functools.partial(jnp.where, layer % 2 == 0), masks["local"], mask)
    y, cache = Attention(c, name="attn")(norm("pre_attention_norm", x), tokens, mask, layer, cache)
    x = sharding.shard_activations(x + drop(post("post_attention_norm", y)))
    y = Mlp(c, name="mlp")(norm("pre_ffw_norm", x))
    # big_vision's order: it differs between the halves.
    x = sharding.shard_activations(x + post("post_ffw_norm", drop(y)))
    self.sow("intermediates", "hidden", x)
    return (x, cache), None


class Embedder(nn.Module):
  config: GemmaConfig

  def setup(self):
    c = self.config
    self.input_embedding = self.param(
        "input_embedding", nn.initializers.normal(c.width**-0.5), (c.vocab_size, c.width))

  def encode(self, text):
    x = layers.lookup(self.input_embedding, text)
    x = (x * jnp.sqrt(self.config.width).astype(x.dtype)).astype(self.config.dtype)
    return sharding.shard_activations(x)

  def decode(self, x):
    return layers.tied_head(x, self.input_embedding)


class Gemma(nn.Module):
  """A decoder over embeddings: x [B, T, D] -> hidden states [B, T, D] -> logits."""
  config: GemmaConfig

  def setup(self):
    self.embedder = Embedder(self.config)
    self.final_norm = layers.RMSNorm()

  def embed(self, text):
    """int32 [B, T] -> [B, T, D], scaled by sqrt(D)."""
    return self.embedder.encode(text)

  def positioned(self, x, tokens):
    """What the first block reads: x itself, since RoPE is in the blocks."""
    del tokens
    return x

  block = Block

  @staticmethod
  def block_args(config, tokens, keys, kernel="einsum"):
    """What a Block reads besides its x, cache and index, when tokens [B, T] see keys [B, S].

    kernel: a row of attention.KERNELS; all but "einsum" are for tokens that see themselves.
    """
    return tokens, attention.masks(kernel, tokens, keys, config.window, config.window_rule)

  @nn.compact
  def __call__(self, x, tokens, cache: KVCache | None = None, train: bool = False) -> Any:
    """x [B, T, D], tokens [B, T] -> (hidden states after the final norm [B, T, D], cache).

    With a cache, x continues what the cache holds.
    """
    c = self.config
    if cache is not None:
      cache = cache.seat(tokens)
    self.sow("intermediates", "embedded", x)
    kernel = "einsum"
    if cache is None and not self.is_mutable_collection("intermediates"):
      kernel = attention.select_kernel(c.attention, x.shape[1], c.head_dim, c.attn_softcap, c.dtype)
    blocks = layers.stacked(Block, c, train, in_axes=(0, nn.broadcast, nn.broadcast))
    (x, cache), _ = blocks(c, train, name="layers")(
        (x, cache), jnp.arange(c.depth),
        *self.block_args(c, tokens, tokens if cache is None else cache.tokens, kernel))
    return self.final_norm(x), cache

  def logits(self, hidden):
    """[..., D] -> float32 [..., V]."""
    return layers.softcap(self.embedder.decode(hidden), self.config.final_softcap)

  def empty_cache(self, batch, slots, dtype):
    c = self.config
    return KVCache.empty(c.depth, batch, slots, c.kv_heads, c.head_dim, dtype)
