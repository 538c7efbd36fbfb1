"""The matmuls of attention, several ways: the rows of attention.KERNELS.

B batch, T queries, S keys, N query heads = K kv heads x G queries each, H head dim. q is [B,T,N,H]
and scaled, k and v are [B,S,K,H], the result is [B,T,N,H] in q's dtype; query head n reads kv head
n // G. Logits, soft-cap (None or 0: none) and softmax are float32 everywhere.

All but `einsum` are for whole sequences, T = S, whose [T, T] logits would fill the memory. Their
mask is a KVRanges. Tiles of the logits that no query sees are computed all the same (with 4,096
image tokens, a prefix of 256 and a suffix of 256 they are 5 %), but for packed rows in `splash`:
with four examples in a row they are more than half.
"""
import functools
import math

import flax.struct
import jax
import jax.numpy as jnp
from etils import epy
from jax.ad_checkpoint import checkpoint_name

from big_vlm.cpu import platform
from big_vlm.nn import short_attention
from big_vlm.nn.layers import MODEL_WIDTH, softcap
from big_vlm.nn.partitioning import BATCH_AXES

with epy.lazy_imports():  # Pallas takes 0.4 s to import, and only TPUs use these
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash_ops
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask_info as mask_info,
  )

TILES = 512, 384, 256, 128  # rows and columns of a tile: multiples of a TPU's 128 lanes
_BITS = 15  # `splash` has one int32 for first and last
MAX_TOKENS = 2**_BITS
_CHUNK = 512  # queries of `chunked` at a time


@flax.struct.dataclass
class KVRanges:
  """A mask without a [T, T] array: a query sees the valid keys from its first to its last.

  Each field is [B, T]; None bounds nothing.
  """
  kernel: str = flax.struct.field(pytree_node=False)  # the row of attention.KERNELS it is for
  first: jax.Array | None = None  # int32: index of a key
  last: jax.Array | None = None  # int32, itself seen
  valid: jax.Array | None = None  # bool: not padding
  # Whether rows hold several examples: most tiles of the logits are then seen by no query.
  packed: bool = flax.struct.field(pytree_node=False, default=False)


def einsum(q, k, v, mask=None, logits_softcap=None, capture=None):
  """mask: bool [B,T,S] or None. capture: a hook called with the probabilities, float32 [B,N,T,S]; a
  row that sees nothing is uniform."""
  q = q.reshape(*q.shape[:2], k.shape[2], -1, q.shape[-1])
  logits = jnp.einsum("BTKGH,BSKH->BKGTS", q, k, preferred_element_type=jnp.float32)
  logits = softcap(logits, logits_softcap)
  if mask is not None:  # finite: a row that sees nothing gives no NaN
    logits = jnp.where(mask[:, None, None], logits, -2.3819763e38)
  probs = jax.nn.softmax(logits)
  if capture:
    capture(probs.reshape(probs.shape[0], -1, *probs.shape[3:]))
  out = jnp.einsum("BKGTS,BSKH->BTKGH", probs.astype(v.dtype), v)
  out = out.reshape(*out.shape[:2], -1, out.shape[-1]).astype(q.dtype)
  return checkpoint_name(out, MODEL_WIDTH)


def chunked(q, k, v, ranges, logits_softcap=None):
  """`einsum` of some queries at a time, made again for the gradient: any device, any dtype."""
  batch, length = q.shape[:2]
  chunk = math.ceil(length / math.ceil(length / _CHUNK))
  split = lambda x: jnp.moveaxis(
      _pad(x, -length % chunk).reshape(batch, -1, chunk, *x.shape[2:]), 1, 0)

  @jax.checkpoint
  def some(rows):
    q, first, last = rows
    return einsum(q, k, v, _mask(first, last, ranges.valid, length), logits_softcap)
  out = jax.lax.map(some, jax.tree.map(split, (q, ranges.first, ranges.last)))
  out = jnp.moveaxis(out, 0, 1).reshape(batch, -1, *q.shape[2:])[:, :length]
  return checkpoint_name(out, MODEL_WIDTH)


def cudnn(q, k, v, ranges, logits_softcap=None):
  """NVIDIA's fused kernel; the ranges become a [B,1,T,T] addend that all heads share.

  16-bit dtypes, no soft-cap, heads of up to 128, from the H100 on 256. Raises what
  jax.nn.dot_product_attention raises where it does not serve.
  """
  if logits_softcap:
    raise ValueError(f"cuDNN's attention has no soft-cap, this model one of {logits_softcap}: take "
                     "attention='chunked' or 'auto'.")
  length = q.shape[1]
  q, k, v, ranges = _padded(q, k, v, ranges, -length % 2)  # its gradient takes even lengths only
  mask = _mask(ranges.first, ranges.last, ranges.valid, q.shape[1])
  mask = None if mask is None else mask[:, None]
  out = jax.nn.dot_product_attention(q, k, v, mask=mask, scale=1., implementation="cudnn")
  return checkpoint_name(out[:, :length], MODEL_WIDTH)


def splash(q, k, v, ranges, logits_softcap=None):
  """The Pallas kernel for TPUs that ships with JAX; on other devices it is interpreted, slowly.

  KVRanges go in as the numbers of the queries, which it hands to a function with the indices of the
  keys (made for causal masks of shuffled queries); padding goes in as segments. Of packed rows,
  tiles beyond all ranges of their queries are left out; the rows of a device then go through one
  after the other, as each has tiles of its own. Batch and heads are sharded as on the mesh that is
  set.
  """
  length = q.shape[1]
  if length > MAX_TOKENS:
    raise ValueError(f"attention='splash' takes {MAX_TOKENS:,} tokens at most, not {length:,}.")
  tile = tile_of(length)
  q, k, v, ranges = _padded(q, k, v, ranges, -length % tile)
  sees, bounds = None, ranges.last
  if ranges.first is not None:
    sees, bounds = _within, ranges.first << _BITS | ranges.last
  elif bounds is not None:
    sees = _up_to
  kernel = functools.partial(_splash_one, tile=tile, sees=sees, packed=ranges.packed,
                             cap=logits_softcap or None, interpret=platform() != "tpu")
  call = lambda q, k, v, bounds, valid: jnp.moveaxis(jax.vmap(kernel)(
      *(jnp.moveaxis(x, 2, 1) for x in (q, k, v)), bounds, valid), 1, 2)
  return _per_device(call, q, k, v, bounds, ranges.valid)[:, :length]


def short(q, k, v, ranges, logits_softcap=None):
  """A kernel of this project for TPUs (short_attention.py); on other devices it is interpreted.

  Raises ValueError for more than short_attention.MAX_TOKENS, for a soft-cap, for key heads that
  queries share, and where not all tokens see all.
  """
  masked = any(x is not None for x in (ranges.first, ranges.last, ranges.valid))
  if masked or logits_softcap or q.shape[2] != k.shape[2] or (
      q.shape[1] > short_attention.MAX_TOKENS):
    raise ValueError(
        f"attention='short' is for image towers of at most {short_attention.MAX_TOKENS} patches: "
        "tokens that all see all, as many key heads as query heads, no soft-cap. Take 'auto'.")
  call = lambda q, k, v, *_: short_attention.attend(q, k, v)
  return checkpoint_name(_per_device(call, q, k, v, None, None), MODEL_WIDTH)


def _splash_one(q, k, v, bounds, valid, *, tile, sees, packed, cap, interpret):
  """One example, heads first: [N,T,H] -> [N,T,H]."""
  length, dim = q.shape[1:]
  if packed:
    stretch = tile
    ahead, back = tiles_to_run(bounds >> _BITS, bounds & (MAX_TOKENS - 1), valid, tile)
  else:
    stretch, ahead, back = stretch_of(length, tile, dim, q.dtype), (None, None), (None, None)
  forward, backward = (mask_info.MaskInfo(next_tile, None, runs, None, bounds)
                       for next_tile, runs in (ahead, back))
  segments = None if valid is None else splash_ops.SegmentIds(*(valid.astype(jnp.int32),) * 2)
  with jax.numpy_rank_promotion("allow"):
    return splash_ops.SplashAttentionKernel(
        forward, None, backward, is_mqa=False, save_residuals=False, mask_function=sees,
        mask_value=splash_ops.DEFAULT_MASK_VALUE, attn_logits_soft_cap=cap,
        residual_checkpoint_name=MODEL_WIDTH, interpret=interpret,
        block_sizes=splash_ops.BlockSizes(
            block_q=tile, block_kv=tile, block_q_dkv=tile, block_kv_dkv=stretch,
            block_kv_dkv_compute=tile, use_fused_bwd_kernel=True))(q, k, v, segments)


def tile_of(length):
  """Rows and columns of a tile for so many tokens: the largest with 3 % of padding at most, or else
  with the least."""
  return min(TILES, key=lambda tile: max(-length % tile, length // 32))


def stretch_of(length, tile, dim, dtype):
  """Keys that the backward kernel takes at a time. It makes the gradient of q once for each
  stretch, then adds them up: stretches are as long as fits into a TPU's vector memory."""
  lanes = -(-dim // 128) * 128
  most = 2**20 // (lanes * jnp.dtype(dtype).itemsize)
  return max(n for n in range(tile, max(most, tile) + 1, tile) if length % n == 0)


def tiles_to_run(first, last, valid, tile):
  """Which tiles of the logits any query sees, of T queries: KVRanges' fields, [T] each.

  Returns ((next, runs), (next, runs)), int32 [1, T / tile, T / tile] each, as splash's MaskInfo
  has them, for the forward and the backward kernel. runs: 1 where a tile of queries (rows) and of
  keys is computed. next: the tile of keys, for the backward kernel that of queries, that is read:
  one that is left out moves no data.
  """
  at = jnp.arange(len(first) // tile, dtype=jnp.int32)
  real = lambda x, other: x if valid is None else jnp.where(valid, x, other)
  low = real(first, MAX_TOKENS).reshape(-1, tile).min(axis=1) // tile
  high = real(last, -1).reshape(-1, tile).max(axis=1) // tile
  low, high = jnp.minimum(low, at), jnp.maximum(high, at)  # padding sees itself: no sum is empty
  runs = (low[:, None] <= at[None]) & (at[None] <= high[:, None])

  def ahead(axis):
    here = jnp.where(runs, at[:, None] if axis == 0 else at[None], len(at))
    later = jax.lax.cummin(here, axis, reverse=True)
    most = jnp.max(jnp.where(runs, here, 0), axis, keepdims=True)  # there is none later
    return jnp.minimum(later, most)[None]
  return tuple((ahead(axis), runs[None].astype(jnp.int32)) for axis in (1, 0))


def _up_to(last, key):
  return key <= last


def _within(bounds, key):
  return (key >= bounds >> _BITS) & (key <= bounds & (MAX_TOKENS - 1))


def _per_device(call, q, k, v, *rows):
  """call(q, k, v, *rows) with batch and heads sharded as on the mesh that is set.

  XLA cannot shard a Pallas call by itself. A batch that does not divide is replicated.
  """
  mesh = jax.sharding.get_abstract_mesh()
  free = [axis for axis, kind in zip(mesh.axis_names, mesh.axis_types)
          if kind != jax.sharding.AxisType.Manual]
  if math.prod(mesh.shape[axis] for axis in free) == 1:
    return call(q, k, v, *rows)
  batch = tuple(axis for axis in BATCH_AXES if axis in free)
  if q.shape[0] % math.prod(mesh.shape[axis] for axis in batch):
    batch = ()
  heads, kv_heads = q.shape[2], k.shape[2]
  tensor = "tensor" if "tensor" in free else None
  shared = math.lcm(kv_heads, mesh.shape[tensor]) if tensor else kv_heads
  if heads % shared:
    tensor, shared = None, kv_heads
  k, v = (jnp.repeat(x, shared // kv_heads, axis=2) for x in (k, v))
  spec = jax.sharding.PartitionSpec
  by_head = spec(batch, None, tensor)
  return jax.shard_map(call, in_specs=(by_head,) * 3 + (spec(batch),) * len(rows),
                       out_specs=by_head, check_vma=False)(q, k, v, *rows)


def _mask(first, last, valid, length):
  """bool [B,T,S], or None where every key is seen."""
  key, parts = jnp.arange(length)[None, None], []
  if first is not None:
    parts.append(key >= first[..., None])
  if last is not None:
    parts.append(key <= last[..., None])
  if valid is not None:
    parts.append(valid[:, None])
  return functools.reduce(jnp.logical_and, parts) if parts else None


def _padded(q, k, v, ranges, rows):
  """All of them with `rows` more rows of padding, which the others do not see."""
  if not rows:
    return q, k, v, ranges
  valid = jnp.ones(q.shape[:2], bool) if ranges.valid is None else ranges.valid
  return jax.tree.map(lambda x: _pad(x, rows), (q, k, v, ranges.replace(valid=valid)))


def _pad(x, rows):
  return jnp.pad(x, ((0, 0), (0, rows)) + ((0, 0),) * (x.ndim - 2)) if rows else x
