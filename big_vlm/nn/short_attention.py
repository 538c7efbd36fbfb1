"""Attention of so few tokens that a TPU holds all logits of a head in its vector memory.

The kernel takes one example a step and goes through its heads. Logits, float32, never reach the
HBM, and for the gradient they are made again: nothing but queries, keys and values is kept.

B batch, T tokens that all see all, N heads of size H. Tokens lie along the lanes and features along
the sublanes, [B, N * H, T]. XLA lays out the projections of heads of 72 so anyway, which would fill
72 of 128 lanes; a head is then a slice at a multiple of 8 rows, and the logits [keys, queries], of
which a softmax sums over sublanes, are multiplied without transposing them. With heads side by side
along the lanes, [B, T, N * H], a forward step took 12,400 instructions in place of 5,900.
"""
import functools

import jax
import jax.numpy as jnp
from etils import epy

from big_vlm.cpu import platform

with epy.lazy_imports():
  from jax.experimental import pallas as pl

MAX_TOKENS = 256
NAME = "short_attention"  # its instructions in a compiled program begin so
_LANES = 128
# Bytes of a step's inputs and outputs, of which memory holds two steps', of 16 MiB. A gradient of
# 16 heads of 72 in bfloat16 has 4.1 MB.
_STEP = 6 * 2**20


def attend(q, k, v):
  """q (scaled), k and v [B, T, N, H] -> [B, T, N, H]; logits and softmax are float32."""
  batch, length, heads = q.shape[:3]
  lay = lambda x: jnp.pad(jnp.moveaxis(x, 1, 3).reshape(batch, -1, length),
                          ((0, 0), (0, 0), (0, -length % _LANES)))
  out = _attend(lay(q), lay(k), lay(v), heads, length)[..., :length]
  return jnp.moveaxis(out.reshape(batch, heads, -1, length), 3, 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _attend(q, k, v, heads, length):
  return _call(_forward, 1, heads, length, q, k, v)[0]


_attend.defvjp(
    lambda q, k, v, *sizes: (_attend(q, k, v, *sizes), (q, k, v)),
    lambda heads, length, qkv, grad: tuple(_call(_backward, 3, heads, length, *qkv, grad)))


def _call(kernel, outputs, heads, length, *inputs):
  batch, rows, lanes = inputs[0].shape
  size = rows // heads
  whole = (len(inputs) + outputs) * inputs[0][0].size * inputs[0].dtype.itemsize
  # Heads of a step: all that fit, in blocks of 16 rows, as bfloat16 is tiled.
  each = next((n for n in range(heads, 0, -1) if heads % n == 0 and whole * n <= _STEP * heads and
               (n == heads or n * size % 16 == 0)), heads)
  block = pl.BlockSpec((1, each * size, lanes), lambda example, part: (example, part, 0))
  return pl.pallas_call(
      functools.partial(kernel, size, length), name=NAME + kernel.__name__,
      grid=(batch, heads // each), in_specs=[block] * len(inputs), out_specs=[block] * outputs,
      out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs[:outputs]],
      interpret=platform() != "tpu")(*inputs)


def _heads(size, *refs):
  """(a head's rows, its part of each array) for one head after the other."""
  for first in range(0, refs[0].shape[1], size):
    rows = slice(first, first + size)
    yield rows, *(ref[0, rows] for ref in refs)


def _dot(a, b, over_a, over_b):
  return jax.lax.dot_general(a, b, (((over_a,), (over_b,)), ((), ())),
                             preferred_element_type=jnp.float32)


def _softmax(q, k, length):
  """(exponentials [keys, queries], 1 / their sums [1, queries]) of q and k [H, T]; keys from
  `length` on are padding."""
  logits = _dot(k, q, 0, 0)
  if length < len(logits):
    key = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 0)
    logits = jnp.where(key < length, logits, -jnp.inf)
  exp = jnp.exp(logits - jnp.max(logits, axis=0, keepdims=True))
  return exp, 1 / jnp.sum(exp, axis=0, keepdims=True)


def _forward(size, length, q_ref, k_ref, v_ref, out_ref):
  for rows, q, k, v in _heads(size, q_ref, k_ref, v_ref):
    exp, norm = _softmax(q, k, length)
    out_ref[0, rows] = (_dot(v, exp.astype(v.dtype), 1, 0) * norm).astype(out_ref.dtype)


def _backward(size, length, q_ref, k_ref, v_ref, grad_ref, dq_ref, dk_ref, dv_ref):
  for rows, q, k, v, grad in _heads(size, q_ref, k_ref, v_ref, grad_ref):
    exp, norm = _softmax(q, k, length)
    probs = exp * norm
    dprobs = _dot(v, grad, 0, 0)
    dlogits = probs * (dprobs - jnp.sum(probs * dprobs, axis=0, keepdims=True))
    probs, dlogits = probs.astype(v.dtype), dlogits.astype(q.dtype)
    dq_ref[0, rows] = _dot(k, dlogits, 1, 0).astype(dq_ref.dtype)
    dk_ref[0, rows] = _dot(q, dlogits, 1, 1).astype(dk_ref.dtype)
    dv_ref[0, rows] = _dot(grad, probs, 1, 1).astype(dv_ref.dtype)
