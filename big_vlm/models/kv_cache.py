"""The key-value cache of decoding, an explicit value: passed in, passed out, never hidden state.

N layers, B batch, S slots, K kv heads, H head dim. All rows write the same slots; padding between
a short prompt and the first new token stays in its slots, masked.
"""
import flax.struct
import jax
import jax.numpy as jnp

from big_vlm.models.attention import Tokens


@flax.struct.dataclass
class KVCache:
  k: jax.Array  # [N, B, S, K, H]
  v: jax.Array  # [N, B, S, K, H]
  tokens: Tokens  # [B, S]: who sits in the slots; valid is False in free ones
  length: jax.Array  # int32 []: slots written so far

  @classmethod
  def empty(cls, layers, batch, slots, kv_heads, head_dim, dtype):
    shape, zeros = (layers, batch, slots, kv_heads, head_dim), jnp.zeros((batch, slots), jnp.int32)
    return cls(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype),
               Tokens(zeros, zeros, zeros.astype(bool)), jnp.int32(0))

  def seat(self, tokens):
    """The cache with tokens [B, T] noted in the next T slots; their k and v follow by write()."""
    seated = jax.tree.map(
        lambda old, new: jax.lax.dynamic_update_slice(old, new.astype(old.dtype), (0, self.length)),
        self.tokens, tokens)
    return self.replace(tokens=seated, length=self.length + tokens.position.shape[1])

  def write(self, layer, k, v):
    """Puts k, v [B, T, K, H] of one layer into the T slots seated last."""
    at = (layer, 0, self.length - k.shape[1], 0, 0)
    return self.replace(k=jax.lax.dynamic_update_slice(self.k, k[None].astype(self.k.dtype), at),
                        v=jax.lax.dynamic_update_slice(self.v, v[None].astype(self.v.dtype), at))

  def read(self, layer, dtype):
    """All slots of one layer: k, v [B, S, K, H]."""
    return [jax.lax.dynamic_index_in_dim(x, layer, keepdims=False).astype(dtype)
            for x in (self.k, self.v)]
