"""Weights in 8 or 4 bits: symmetric integers times a scale; activations keep their dtype.

  int8   -127..127, one bfloat16 scale per output channel           half of bfloat16
  int4   -7..7, one bfloat16 scale per 32 weights of an input axis  4.5 bits, 0.28 of bfloat16

A scale has the weight's rank, with 1 on axes that share it and N / 32 on the axis in groups. Every
weight comes back to within half a scale: it is divided by the rounded scale, and rounding
leaves the largest, 127 scales, below 127 * 257 / 256 = 127.496 of them, which rounds to 127.
JAX keeps int4 arrays in half a byte per number on the device; their .nbytes says a whole one, see
nbytes() here. A matmul takes the integers of int8 and scales its outputs; those of int4 are
dequantized first, one layer at a time.
"""
import dataclasses
import functools
import math
import re

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from big_vlm import cpu
from big_vlm.adapt import einsum_hook
from big_vlm.nn import layer_matmul, layers
from pp.names import pick

GROUP = 32  # the most weights that share an int4 scale; their number divides the axis
PIECE = 2**22  # elements of a table that are dequantized at a time
# On a TPU up to FEW int8 rows of a table are looked up with the TILE - 1 beside them, a tile: for
# single rows it would lay the whole table out anew, 4.9 ms in each step of Gemma 2B.
TILE, FEW = 32, 256


@dataclasses.dataclass(frozen=True)
class Kind:
  dtype: str
  largest: int
  grouped: bool


KINDS = {"int8": Kind("int8", 127, False), "int4": Kind("int4", 7, True)}


@flax.struct.dataclass
class Quantized:
  """The weight q * scale."""
  q: jax.Array  # int8 or int4, of the weight's shape
  scale: jax.Array
  dtype: str = flax.struct.field(pytree_node=False)  # of the weight before

  @property
  def shape(self):
    return self.q.shape

  def dequantize(self, dtype=jnp.float32):
    return _dequantize(self.q, self.scale).astype(dtype)

  def einsum(self, eqn, x, dtype):
    _, w, out = re.split(",|->", eqn)
    grouped = _is_grouped(self.scale, w, out)
    is_table = eqn.endswith(w[0])  # [V, D] -> [..., V]
    if is_table and not grouped and layer_matmul.serves_head(x, self.q):
      return layer_matmul.head(x, self.q) * self.scale.astype(jnp.float32)[:, 0][None]

    def matmul(weight):
      if grouped:
        return jnp.einsum(eqn, x, weight.dequantize(x.dtype), preferred_element_type=dtype)
      y = layers.einsum(eqn, x, weight.q, jnp.float32)
      return (y * layers.to_rank(_of_outputs(weight.scale, w, out), y)).astype(dtype or x.dtype)

    rows = max(1, PIECE // math.prod(self.shape[1:]))
    if is_table and self.shape[0] > rows and (grouped or cpu.platform() != "tpu"):
      return _in_pieces(matmul, self, rows)
    return matmul(self)

  def einsum_of_layer(self, eqn, x, dtype, of_layer):
    """The einsum of one layer where this weight is stacked; of_layer: layer_matmul.OfLayer."""
    _, w, out = re.split(",|->", eqn)
    scale = self.scale[of_layer.layer]
    if _is_grouped(scale, w, out):
      return Quantized(self.q[of_layer.layer], scale, self.dtype).einsum(eqn, x, dtype)
    y = of_layer.matmul(self.q, eqn, x, jnp.float32)
    return (y * layers.to_rank(_of_outputs(scale, w, out), y)).astype(dtype or x.dtype)

  def lookup(self, ids):
    return Quantized(self._rows(ids), self.scale[ids], self.dtype).dequantize()

  def _rows(self, ids):
    """q [..., D] of some rows."""
    other = cpu.platform() != "tpu" or self.q.dtype != jnp.int8
    if other or ids.size > FEW or len(self.q) % TILE:
      return self.q[ids]
    tiles = self.q.reshape(-1, TILE, self.shape[1])[ids // TILE]
    here = layers.to_rank(jnp.arange(TILE), tiles[..., 0]) == ids[..., None] % TILE
    return jnp.sum(jnp.where(here[..., None], tiles, 0), axis=-2, dtype=jnp.int8)


def _is_grouped(scale, w, out):
  """Whether a scale of a weight with axes `w` differs along those that its matmul sums."""
  return any(s != 1 for letter, s in zip(w, scale.shape) if letter not in out)


def _of_outputs(scale, w, out):
  """The scale of a weight with axes `w` as float32 that multiplies the outputs of its matmul."""
  out = out.removeprefix("...")
  kept = "".join(letter for letter in w if letter in out)
  sizes = {letter: n for letter, n in zip(w, scale.shape) if letter in kept}
  scale = scale.astype(jnp.float32).reshape([sizes[letter] for letter in kept])
  order = sorted(kept, key=out.index)
  scale = scale.transpose([kept.index(letter) for letter in order])
  return scale.reshape([sizes.get(letter, 1) for letter in out])


def _dequantize(q, scale):
  q = q.astype(jnp.float32)
  groups = [(n,) if s in (1, n) else (s, n // s) for n, s in zip(q.shape, scale.shape)]
  shared = [(s,) if len(g) == 1 else (s, 1) for g, s in zip(groups, scale.shape)]
  w = q.reshape(sum(groups, ())) * scale.astype(jnp.float32).reshape(sum(shared, ()))
  return w.reshape(q.shape)


def _in_pieces(matmul, table, rows):
  """matmul(table) [..., V] of `rows` of the table's V at a time: 1 GiB less for Gemma 2B."""
  n = table.shape[0]
  count = -(-n // rows)
  starts = jnp.minimum(jnp.arange(count) * rows, n - rows)  # the last piece reaches back

  def piece(start):
    part = lambda x: jax.lax.dynamic_slice_in_dim(x, start, rows)
    return matmul(Quantized(part(table.q), part(table.scale), table.dtype))

  out = jnp.moveaxis(jax.lax.map(piece, starts), 0, -2)  # [..., count, rows]
  full = out[..., :-1, :].reshape(*out.shape[:-2], -1)
  return jnp.concatenate([full, out[..., -1, count * rows - n:]], axis=-1)


def quantize(model, params, kind):
  """params with a Quantized for each weight that multiplies; kind: "int8" or "int4".

  Vectors, norms, patch and position embeddings stay. A weight that LoRA adapts is quantized under
  its adapters. Goes leaf by leaf and keeps shardings; params may be traced or jax.eval_shape'd.
  Raises ValueError for an unknown kind, and for params that are quantized already.
  """
  kind = pick(KINDS, kind, "kind of quantized weights")
  weights, changed = einsum_hook.weights(params), {}
  for name, spec in einsum_hook.multiplying(model).items():
    if spec.traits.float32:
      continue
    wrapper = weights[name]
    base = getattr(wrapper, "base", wrapper)
    if isinstance(base, Quantized):
      raise ValueError(f"{name} is quantized already, as {base.q.dtype}: quantize the parameters "
                       "as they were loaded.")
    small = _quantized(base, spec, kind)
    changed[name] = small if base is wrapper else wrapper.replace(base=small)
  return einsum_hook.replace(params, changed)


def _quantized(w, weight, kind):
  where = None
  if not isinstance(w, jax.core.Tracer) and isinstance(w.sharding, NamedSharding):
    shapes = jax.eval_shape(lambda: _round(w, weight, kind))
    spec = (*w.sharding.spec, *(None,) * (w.ndim - len(w.sharding.spec)))
    scale = PartitionSpec(*(axis if n == s else None
                            for axis, n, s in zip(spec, w.shape, shapes.scale.shape)))
    where = shapes.replace(q=w.sharding, scale=NamedSharding(w.sharding.mesh, scale))
  return _round(w, weight, kind, where)


@functools.partial(jax.jit, static_argnames=("weight", "kind", "where"))
def _round(w, weight, kind, where=None):
  """The Quantized of an array, one layer after the other; weight: its ParamSpec, where: a Quantized
  of its shardings."""
  axes = weight.at(weight.ins)
  group = 1
  if kind.grouped:
    size = w.shape[axes[-1]]
    group = max(g for g in range(1, GROUP + 1) if size % g == 0)

  def one(w):
    x = w.astype(jnp.float32)
    if kind.grouped:
      at = axes[-1] % x.ndim
      x = x.reshape(*x.shape[:at], -1, group, *x.shape[at + 1:])
      most = jnp.max(jnp.abs(x), axis=at + 1, keepdims=True)
    else:
      most = jnp.max(jnp.abs(x), axis=axes, keepdims=True)
    # To bfloat16's 8 bits of exponent and 7 of mantissa. A cast there and back would not do: XLA
    # may leave it out, and q would belong to another scale than the stored one.
    scale = jax.lax.reduce_precision(jnp.maximum(most, 1e-30) / kind.largest, 8, 7)
    q = jnp.round(x / scale)
    if kind.grouped:
      scale = jnp.squeeze(scale, at + 1)
    return q.reshape(w.shape).astype(kind.dtype), scale.astype(jnp.bfloat16)

  q, scale = jax.lax.map(one, w) if weight.stacked else one(w)
  small = Quantized(q, scale, str(w.dtype))
  return jax.lax.with_sharding_constraint(small, where) if where else small


def nbytes(params):
  """Bytes of all leaves on the device (arrays or shapes)."""
  return sum(math.prod(x.shape) * _bits(x.dtype) // 8 for x in jax.tree.leaves(params))


def _bits(dtype):
  return 4 if dtype == jnp.int4 else jnp.dtype(dtype).itemsize * 8
