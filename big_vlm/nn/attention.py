"""Attention: who sees whom, for training, prefill and decoding alike, and which kernel computes it.

B batch, T query, S key, N query heads = K kv heads x G queries each, H head dim.
"""
import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from big_vlm.nn import kernels, short_attention
from pp.names import pick


@flax.struct.dataclass
class AttentionMetadata:
  """What attention must know of tokens; each field is [B, T]."""
  position: jax.Array  # int32: number of real tokens before it; what RoPE and windows count
  block: jax.Array  # int32: a token sees its own block and all earlier ones
  valid: jax.Array  # bool: not padding
  segment: jax.Array | None = None  # int32: which of a row's examples it is of; None: all of one


def prefix_lm(mask_ar, valid=None):
  """Metadata from mask_ar [B, T] (0: same block as the token before, 1: a new one) and valid."""
  valid = jnp.ones(mask_ar.shape, bool) if valid is None else valid.astype(bool)
  return AttentionMetadata(
      position=jnp.cumsum(valid, axis=1, dtype=jnp.int32) - 1,
      block=jnp.cumsum(mask_ar, axis=1, dtype=jnp.int32), valid=valid)


PADDING = 2**30  # its segment: after those of all examples


def packed(mask_ar, segment):
  """Metadata of rows that hold several examples one after the other: each as prefix_lm alone.

  segment: int32 [B, T], the number of a token's example from 1 on, never falling; 0: padding, which
  comes last.
  """
  valid, segment = segment > 0, jnp.where(segment > 0, segment, PADDING)
  begins = segment != jnp.pad(segment, ((0, 0), (1, 0)))[:, :-1]
  at = jnp.arange(segment.shape[1], dtype=jnp.int32)[None]
  start = jax.lax.cummax(jnp.where(begins, at, 0), axis=1)
  return AttentionMetadata(
      position=at - start,
      block=jnp.cumsum(jnp.where(begins, 1, mask_ar), axis=1, dtype=jnp.int32),
      valid=valid, segment=segment)


def _symmetric(query, key, window):
  return jnp.abs(_distance(query, key)) < window


def _prefix_bidirectional(query, key, window):
  same_block = query.block[:, :, None] == key.block[:, None, :]
  return (_distance(query, key) < window) | same_block


def _distance(query, key):
  """int32 [B, T, S]: how many real tokens a key stands before the query."""
  return query.position[:, :, None] - key.position[:, None, :]


# Which keys a local layer sees with a window of W, the token and the W-1 before it. On causal text
# the modes agree; in a prefix, where tokens see each other both ways, they differ once it is longer
# than W.
SLIDING_WINDOW_MODES = {
    "symmetric": _symmetric,  # within W on either side: KerasHub, google-deepmind/gemma
    "prefix_bidirectional": _prefix_bidirectional,  # also its own block: Hugging Face 5.23
}


def check_window_mode(mode):
  """Returns the row of SLIDING_WINDOW_MODES; raises ValueError for another name."""
  return pick(SLIDING_WINDOW_MODES, mode, "sliding window mode")


def attention_mask(query, key, window=None, mode="symmetric"):
  """bool [B, T, S]: which keys a query sees; window: of a local layer, mode: SLIDING_WINDOW_MODES.

      img img ask ans ans pad      mask_ar 0 0 0 1 1 1
  img  x   x   x
  img  x   x   x                   image and question see each other,
  ask  x   x   x
  ans  x   x   x   x               the answer is causal,
  ans  x   x   x   x   x
  pad                              padding sees nothing and is seen by nothing.

  Examples of one row do not see each other.
  """
  mask = key.block[:, None, :] <= query.block[:, :, None]
  mask &= key.valid[:, None, :] & query.valid[:, :, None]
  if query.segment is not None:
    mask &= key.segment[:, None, :] == query.segment[:, :, None]
  if window is not None:
    mask &= check_window_mode(mode)(query, key, window)
  return mask


def kv_ranges(kernel, tokens, window=None, mode="symmetric"):
  """The kernels.KVRanges that equal attention_mask(tokens, tokens, window, mode) for real tokens.

  They are equal since neither block nor segment falls from a token to the next, and the position
  only with the segment.
  """
  until = lambda of, limit: jnp.sum(  # how many tokens stand before the first above its limit
      of[:, None, :] <= limit[:, :, None], axis=2, dtype=jnp.int32)
  start, last = None, until(tokens.block, tokens.block) - 1
  at = tokens.position
  if tokens.segment is not None:
    start = until(tokens.segment, tokens.segment - 1)
    at += start
  first = start
  if window is not None:
    first = until(at, at - window)
    if check_window_mode(mode) is _symmetric:
      last = jnp.minimum(last, until(at, at + window - 1) - 1)
    else:
      first = jnp.minimum(first, until(tokens.block, tokens.block - 1))
    if start is not None:
      first = jnp.maximum(first, start)
  return kernels.KVRanges(kernel, first, last, tokens.valid, tokens.segment is not None)


def masks(kernel, query, key, window=None, mode="symmetric"):
  """{"global": mask} for attend(), and with a window {"local": mask}, alike in structure."""
  if kernel == "einsum":
    see = lambda window: attention_mask(query, key, window, mode)
  else:
    see = lambda window: kv_ranges(kernel, key, window, mode)
  if window is None:
    return {"global": see(None)}
  local, everywhere = see(window), see(None)
  if kernel != "einsum" and everywhere.first is None:
    everywhere = everywhere.replace(first=jnp.zeros_like(local.first))
  return {"global": everywhere, "local": local}


def bidirectional(kernel, valid=None):
  """The mask for attend() where all tokens see all, or all that bool valid [B, S] marks."""
  if kernel != "einsum":
    return kernels.KVRanges(kernel, valid=valid)
  return None if valid is None else valid[:, None]


# "auto" takes a kernel from so many tokens on. By the TPU compiler's estimate for a v5e, the kernel
# at half of peak, a layer of Gemma 2B forward and backward takes these ms with splash and einsum:
# 384 tokens, batch 32: 2.9 and 4.4; 1,536, batch 4: 3.5 and 7.3; 4,608, batch 1: 7.4 and 15.8; of
# the ViT at 1,024, batch 8, 3.2 and 9.9, at 4,096, batch 1, 3.3 and 18.5. Of its 256 patches, batch
# 128, attention takes 17 ms of a layer, rematerialized, with einsum, and 1.9 with the short kernel,
# by its instructions: 5,892 forward and 10,588 backward an example. With fewer than 128 tokens most
# of them would be for padding. Chunks on 2 CPU cores, one example: 1,024 tokens 0.21 and 0.22 s,
# 2,048 1.5 and 1.0, 4,608 4.3 and 5.2, and then 0.4 instead of 2.6 GiB. cuDNN is not measured.
SHORT_FROM = 128
SPLASH_FROM = 320
CUDNN_FROM = 1024
CHUNKED_FROM = 4096


@dataclasses.dataclass(frozen=True)
class KernelContext:
  """What the choice of a kernel depends on."""
  platform: str  # "cpu", "gpu", "tpu"
  length: int
  head_dim: int
  softcap: bool
  dtype: str
  masked: bool  # not all tokens see all
  mesh_known: bool  # a mesh is set, or there is one device: it is known how a batch is sharded


# name: (function of kernels.py, whether it serves a KernelContext). "auto" is the first that does.
# For masks cuDNN takes an addend, and for Gemma's heads of 256 an H100: by name, until it has been
# measured.
KERNELS = {
    "splash": (kernels.splash, lambda c: c.platform == "tpu" and c.mesh_known
               and SPLASH_FROM <= c.length <= kernels.MAX_TOKENS),
    "short": (kernels.short, lambda c: c.platform == "tpu" and c.mesh_known and not c.masked
              and not c.softcap and SHORT_FROM <= c.length <= short_attention.MAX_TOKENS),
    "cudnn": (kernels.cudnn, lambda c: c.platform == "gpu" and c.length >= CUDNN_FROM
              and not c.masked and not c.softcap and c.head_dim <= 128 and c.head_dim % 8 == 0
              and c.dtype != "float32"),
    "chunked": (kernels.chunked, lambda c: c.length >= CHUNKED_FROM),
    "einsum": (kernels.einsum, lambda c: True),
}


def select_kernel(name, length, head_dim, logits_softcap=None, dtype="float32", masked=True):
  """The row of KERNELS that "auto" means here and now; any other name is itself."""
  if name != "auto":
    return name
  mesh_known = not jax.sharding.get_abstract_mesh().empty or jax.device_count() == 1
  return auto(KernelContext(kernels.platform(), length, head_dim, bool(logits_softcap), dtype,
                            masked, mesh_known))


def auto(context):
  """The first row of KERNELS that serves the KernelContext."""
  return next(name for name, (_, serves) in KERNELS.items() if serves(context))


def attend(q, k, v, mask=None, logits_softcap=None, capture=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H] -> [B,T,N,H] in q's dtype.

  mask: bool [B,T,S] (T may be 1) or None for plain matmuls, which alone take a capture hook
  (kernels.einsum), or kernels.KVRanges, which name their kernel.
  """
  if isinstance(mask, kernels.KVRanges):
    return KERNELS[mask.kernel][0](q, k, v, mask, logits_softcap)
  return kernels.einsum(q, k, v, mask, logits_softcap, capture)


def rope(x, position, base=10_000, scale=1):
  """Rotates x [B,T,N,H] by position [B,T]: element j pairs with j + H/2 (RoFormer, section 3.4).

  base: of the periods; scale: what positions are divided by (linear scaling for longer contexts).
  Each is a number or float32 [], so that it may depend on a scanned layer.
  """
  h = x.shape[-1] // 2
  period = scale * base ** (jnp.arange(h, dtype=jnp.float32) / h)
  angle = position[..., None, None] / period[None, None, None]  # [B,T,1,h]
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  x1, x2 = x[..., :h].astype(jnp.float32), x[..., h:].astype(jnp.float32)
  return jnp.concatenate([x1 * cos - x2 * sin, x2 * cos + x1 * sin], axis=-1).astype(x.dtype)
