"""Matmuls of a decode step on a GPU, which read a layer's weights where they lie in their stack.

XLA's GPU compiler slices a layer out of the stack, lays it out anew where it contracts an axis in
the middle, and converts int8 as a whole before cuBLAS multiplies: PaliGemma 3B's step on an H100
moves 3.5 times the bytes of its weights and cache, in int8 6.9 times. This kernel, Pallas for
Triton, reads each weight once, as it is stored, and converts in registers.

M rows, L layers, X matrices of a layer, K axis that is summed, N outputs of a matrix.
"""
import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
from etils import epy

from big_vlm import cpu

with epy.lazy_imports():  # Pallas takes 0.4 s to import, and only GPUs use it
  from jax.experimental import pallas as pl
  from jax.experimental.pallas import triton

ROWS = 16, 32, 64, 128  # of x; tensor cores multiply 16 at least
OLDER = r"\bT4\b|V100|P100|RTX 20|Quadro RTX"  # device kinds before Ampere, which Triton has left
PROGRAMS = 256  # about two for each core of an H100, which keep its memory busy


def serves(x):
  """Whether x [B, D] or [B, 1, ...] is of a decode step that runs on one GPU of Ampere or later."""
  few = len(x) <= ROWS[-1] and (x.ndim == 2 or x.shape[1] == 1)
  if not few or cpu.platform() != "gpu" or x.dtype == jnp.float32:
    return False
  mesh = jax.sharding.get_abstract_mesh()
  one = mesh.size == 1 if not mesh.empty else jax.device_count() == 1
  device = mesh.abstract_device or jax.devices()[0]
  return one and not re.search(OLDER, device.device_kind, re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class OfLayer:
  """One layer's weight that stays in its stack: a weight wrapper, see adapt/einsum_hook.py.

  stack: an array [L, ...] or a wrapper of such arrays; layer: int32 [].
  """
  stack: Any
  layer: jax.Array

  @property
  def shape(self):
    return self.stack.shape[1:]

  def einsum(self, eqn, x, dtype):
    if hasattr(self.stack, "einsum_of_layer"):
      return self.stack.einsum_of_layer(eqn, x, dtype, self)
    return self.matmul(self.stack, eqn, x, dtype)

  def matmul(self, stack, eqn, x, dtype=None):
    """The einsum of an array [L, ...] that is stacked as this weight is, in its own dtype."""
    if (found := split(eqn, x, stack)) is None:
      return jnp.einsum(eqn, x, stack[self.layer].astype(x.dtype), preferred_element_type=dtype)
    matrices, out = found
    y = matmul(x.reshape(len(x), -1), stack.reshape(matrices), self.layer)
    return y.reshape(out).astype(dtype or x.dtype)


def of_layer(params, layer):
  """The parameters of one layer, int32 [], of stacked ones: matrices as OfLayer, others sliced."""
  is_wrapper = lambda x: hasattr(x, "einsum")

  def at(path, x):
    matrix = x.ndim > 2 and path[-1].key != "bias" if not is_wrapper(x) else (
        hasattr(x, "einsum_of_layer"))
    return OfLayer(x, layer) if matrix else jax.tree.map(lambda leaf: leaf[layer], x)
  return jax.tree_util.tree_map_with_path(at, params, is_leaf=is_wrapper)


def split(eqn, x, stack):
  """((L, X, K, N), shape of the result) of an einsum that sums neighbouring axes; else None."""
  ins, w, out = re.split(",|->", eqn)
  summed = "".join(letter for letter in w if letter not in out)
  before, found, after = w.partition(summed)
  if not found or out != ins[:-len(summed)] + before + after or not ins.endswith(summed):
    return None
  sizes = dict(zip(w, stack.shape[1:]))
  many = lambda letters: math.prod(sizes[letter] for letter in letters)
  shape = (len(stack), many(before), many(summed), many(after))
  if not has_tiles(shape[2], shape[3]):
    return None
  return shape, (*x.shape[:x.ndim - len(summed)], *(sizes[letter] for letter in before + after))


def has_tiles(summed, outputs):
  """Whether tensor cores can take the two axes of a matrix, of which a tile has 16 at least."""
  return tile(summed, 128) >= 16 and tile(outputs, 64) >= 16


def tile(n, most):
  """The largest power of two that divides n, up to `most`."""
  return math.gcd(n, most)


def matmul(x, stack, layer):
  """float32 [M, X, N]: x [M, K] times the matrices [X, K, N] of a layer of the stack [L, X, K, N],
  converted to x's dtype."""
  _, count, summed, columns = stack.shape
  deep, wide = tile(summed, 128), tile(columns, 64)
  parts = tile(summed // deep, 64)
  while parts > 1 and count * (columns // wide) * parts // 2 >= PROGRAMS:
    parts //= 2
  x, rows = _padded(x)
  steps = summed // deep // parts

  def kernel(layer_ref, x_ref, w_ref, out_ref):
    matrix, column, part = (pl.program_id(axis) for axis in range(3))
    layer, outputs = layer_ref[0], pl.ds(column * wide, wide)

    def add(i, total):
      inputs = pl.ds((part * steps + i) * deep, deep)
      w = w_ref[layer, matrix, inputs, outputs].astype(x_ref.dtype)
      return total + jnp.dot(x_ref[:, inputs], w, preferred_element_type=jnp.float32)
    zeros = jnp.zeros((x.shape[0], wide), jnp.float32)
    out_ref[part, :, matrix, outputs] = jax.lax.fori_loop(0, steps, add, zeros)

  y = _call(kernel, (parts, len(x), count, columns), (count, columns // wide, parts),
            "matmul_of_layer")(layer[None], x, stack)
  return jnp.sum(y, axis=0)[:rows]


def serves_head(x, table):
  """Whether head() computes the logits of x [M, D] by a table [V, D]."""
  return x.ndim == 2 and serves(x) and has_tiles(table.shape[1], table.shape[0])


def head(x, table):
  """float32 [M, V]: x [M, D] times the rows of a table [V, D], converted to x's dtype."""
  vocab, width = table.shape
  deep, wide = tile(width, 128), tile(vocab, 64)
  x, rows = _padded(x)

  def kernel(x_ref, table_ref, out_ref):
    tokens = pl.ds(pl.program_id(0) * wide, wide)

    def add(i, total):
      inputs = pl.ds(i * deep, deep)
      w = table_ref[tokens, inputs].astype(x_ref.dtype).T
      return total + jnp.dot(x_ref[:, inputs], w, preferred_element_type=jnp.float32)
    zeros = jnp.zeros((x.shape[0], wide), jnp.float32)
    out_ref[:, tokens] = jax.lax.fori_loop(0, width // deep, add, zeros)

  return _call(kernel, (len(x), vocab), (vocab // wide,), "head")(x, table)[:rows]


def _padded(x):
  """(x with as many rows as a tile has, number of its own)."""
  full = next(n for n in ROWS if n >= len(x))
  return jnp.pad(x, ((0, full - len(x)), (0, 0))), len(x)


def _call(kernel, shape, grid, name):
  return pl.pallas_call(
      kernel, out_shape=jax.ShapeDtypeStruct(shape, jnp.float32), grid=grid, name=name,
      compiler_params=triton.CompilerParams(num_warps=4, num_stages=4),
      interpret=cpu.platform() != "gpu")
