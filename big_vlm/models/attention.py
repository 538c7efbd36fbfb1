"""Attention: one mask function and one product, for training, prefill and decoding alike.

B batch, T query, S key, N query heads = K kv heads x G queries each, H head dim.
"""
import flax.struct
import jax
import jax.numpy as jnp

from big_vlm.models.layers import softcap
from pp.registry import pick


@flax.struct.dataclass
class Tokens:
  """What attention must know of tokens; each field is [B, L]."""
  position: jax.Array  # int32: number of real tokens before it; what RoPE and windows count
  block: jax.Array  # int32: a token sees its own block and all earlier ones
  valid: jax.Array  # bool: not padding


def prefix_lm(mask_ar, valid=None):
  """Tokens from mask_ar [B, L] (0: same block as the token before, 1: a new one) and valid."""
  valid = jnp.ones(mask_ar.shape, bool) if valid is None else valid.astype(bool)
  return Tokens(position=jnp.cumsum(valid, axis=1, dtype=jnp.int32) - 1,
                block=jnp.cumsum(mask_ar, axis=1, dtype=jnp.int32), valid=valid)


def _two_sided(query, key, window):
  return jnp.abs(_distance(query, key)) < window


def _prefix_exempt(query, key, window):
  same_block = query.block[:, :, None] == key.block[:, None, :]
  return (_distance(query, key) < window) | same_block


def _distance(query, key):
  """int32 [B, T, S]: how many real tokens a key stands before the query."""
  return query.position[:, :, None] - key.position[:, None, :]


# How a window of W, the token and the W-1 before it, cuts. On causal text all rules are one; in a
# prefix, where tokens see each other both ways, they differ once it is longer than W.
WINDOW_RULES = {
    "two_sided": _two_sided,  # within W on either side: KerasHub, google-deepmind/gemma
    "prefix_exempt": _prefix_exempt,  # a token sees all of its own block: Hugging Face 5.23
}


def attention_mask(query, key, window=None, rule="two_sided"):
  """bool [B, T, S]: which keys a query sees; window: of a local layer, cut by WINDOW_RULES[rule].

      img img ask ans ans pad      mask_ar 0 0 0 1 1 1
  img  x   x   x
  img  x   x   x                   image and question see each other,
  ask  x   x   x
  ans  x   x   x   x               the answer is causal,
  ans  x   x   x   x   x
  pad                              padding sees nothing and is seen by nothing.
  """
  mask = key.block[:, None, :] <= query.block[:, :, None]
  mask &= key.valid[:, None, :] & query.valid[:, :, None]
  if window is not None:
    mask &= pick(WINDOW_RULES, rule, "window rule")(query, key, window)
  return mask


def attend(q, k, v, mask=None, logits_softcap=None, tap=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], mask [B,T,S] or None -> [B,T,N,H] in q's dtype.

  Query head n reads kv head n // G. Logits, soft-cap and softmax are float32.
  tap: called with the probabilities, float32 [B,N,T,S]; a row that sees nothing is uniform.
  """
  q = q.reshape(*q.shape[:2], k.shape[2], -1, q.shape[-1])
  logits = jnp.einsum("BTKGH,BSKH->BKGTS", q, k, preferred_element_type=jnp.float32)
  logits = softcap(logits, logits_softcap)
  if mask is not None:  # finite: a row that sees nothing gives no NaN
    logits = jnp.where(mask[:, None, None], logits, -2.3819763e38)
  probs = jax.nn.softmax(logits)
  if tap:
    tap(probs.reshape(probs.shape[0], -1, *probs.shape[3:]))
  out = jnp.einsum("BKGTS,BSKH->BTKGH", probs.astype(v.dtype), v)
  return out.reshape(*out.shape[:2], -1, out.shape[-1]).astype(q.dtype)


def rope(x, position, base=10_000):
  """Rotates x [B,T,N,H] by position [B,T]: element j pairs with j + H/2 (RoFormer, section 3.4)."""
  h = x.shape[-1] // 2
  period = base ** (jnp.arange(h, dtype=jnp.float32) / h)
  angle = position[..., None, None] / period[None, None, None]  # [B,T,1,h]
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  x1, x2 = x[..., :h].astype(jnp.float32), x[..., h:].astype(jnp.float32)
  return jnp.concatenate([x1 * cos - x2 * sin, x2 * cos + x1 * sin], axis=-1).astype(x.dtype)
