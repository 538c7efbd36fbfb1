"""What every decoder of a PaliGemma is: the interface, and the road to logits that all share.

B batch, T tokens, S cache positions, D width, L layers, V vocabulary.
"""
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from big_vlm.nn import attention, layer_matmul, layers
from big_vlm.nn.kv_cache import KVCache


class Decoder(nn.Module):
  """A decoder over embeddings: x [B, T, D] -> hidden states [B, T, D] -> logits [B, T, V].

  One road serves training (no cache), prefill (cache, many tokens) and a decode step (cache, one
  token). A family's class sets `block` and `block_args`, and in setup() two submodules: `embedder`
  (encode: int32 [B, T] -> [B, T, D]; decode: [..., D] -> float32 [..., V]) and `final_norm`.

  Its config has the fields width, depth, mlp, heads, kv_heads, head_dim, vocab_size, attn_softcap,
  dropout, dtype (of activations), remat (a row of layers.REMAT), attention (a row of
  attention.KERNELS or "auto"), unroll (layers per iteration of the scan: all of a small model on a
  CPU is 20 % faster), max_positions (the longest sequence of its training), and eos_token (where
  there is no tokenizer to ask).
  """
  config: Any

  # The Module class of one layer, made as block(config, train) and called with
  # ((x, cache), layer: int32 [], *block_args) -> ((x, cache), None).
  block: ClassVar[Any] = None

  @staticmethod
  def block_args(config, tokens, keys, kernel="einsum"):
    """What a block reads besides x, cache and layer, when tokens [B, T] see keys [B, S].

    kernel: a row of attention.KERNELS; all but "einsum" are for tokens that see themselves.
    """
    raise NotImplementedError

  def embed(self, text):
    """int32 [B, T] -> [B, T, D], without positions: image tokens take theirs in positioned()."""
    return self.embedder.encode(text)

  def positioned(self, x, tokens):
    """What the first block reads: x with absolute positions added, if the family has them."""
    del tokens
    return x

  @nn.compact
  def __call__(self, x, tokens, cache: KVCache | None = None, train: bool = False) -> Any:
    """x [B, T, D], tokens [B, T] -> (hidden states after the final norm [B, T, D], cache).

    With a cache, x continues what the cache holds.
    """
    c = self.config
    if cache is not None:
      cache = cache.append(tokens)
    x = self.positioned(x, tokens)
    self.sow("intermediates", "embedded", x)
    kernel = "einsum"
    if cache is None and not self.is_mutable_collection("intermediates"):
      kernel = attention.select_kernel(c.attention, x.shape[1], c.head_dim, c.attn_softcap, c.dtype)
    args = self.block_args(c, tokens, tokens if cache is None else cache.tokens, kernel)
    if cache is not None and layer_matmul.serves(x):
      x, cache = self._read_stacks(x, cache, args)
      return self.final_norm(x), cache
    blocks = layers.stacked(self.block, c, train, in_axes=(0, *(nn.broadcast for _ in args)))
    (x, cache), _ = blocks(c, train, name="layers")((x, cache), jnp.arange(c.depth), *args)
    return self.final_norm(x), cache

  def _read_stacks(self, x, cache, args):
    """The blocks of a decode step, whose weights stay in their stacks: no layer is sliced."""
    c, params = self.config, self.get_variable("params", "layers")
    block = self.block(c, train=False, parent=None)

    def one(carry, layer):
      of_layer = {"params": layer_matmul.of_layer(params, layer)}
      return block.apply(of_layer, carry, layer, *args)[0], None
    return jax.lax.scan(one, (x, cache), jnp.arange(c.depth))[0]

  def logits(self, hidden):
    """[..., D] -> float32 [..., V]."""
    return self.embedder.decode(hidden)

  def empty_cache(self, batch, length, dtype):
    """A KVCache of `length` positions; dtype: see KVCache.empty."""
    c = self.config
    return KVCache.empty(c.depth, batch, length, c.kv_heads, c.head_dim, dtype)
