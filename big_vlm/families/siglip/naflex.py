"""NaFlex (SigLIP 2, section 2.4.2): images of any shape, as patches in rows and columns.

B batch, P patches with padding at their end, S rows and columns of the position table, D width.
"""
import jax.numpy as jnp


def valid(grid, count):
  """bool [B, count]: which patches are real, of grid int32 [B, 2], rows and columns."""
  return jnp.arange(count)[None] < (grid[:, 0] * grid[:, 1])[:, None]


def positions(table, grid, count):
  """The position table [S * S, D] resized to each grid: float32 [B, count, D], row by row.

  Bilinear with half-pixel centres and antialias, as big_vision and transformers resize it. Padding
  has the position of the first patch.
  """
  size = round(table.shape[0] ** 0.5)
  index = jnp.where(valid(grid, count), jnp.arange(count)[None], 0)
  rows, columns = grid[:, :1], grid[:, 1:]
  across = (_weights(index // columns, rows, size)[..., None]
            * _weights(index % columns, columns, size)[..., None, :])
  return jnp.einsum("BPS,SD->BPD", across.reshape(*index.shape, size * size), table,
                    precision="highest")


def _weights(at, length, size):
  """float32 [B, P, size]: of the table's entries in entry `at` [B, P] of an axis of `length`."""
  step = size / length.astype(jnp.float32)
  centre = (at + 0.5) * step
  width = jnp.maximum(step, 1)  # of the triangle, wider where the table shrinks
  distance = jnp.abs((jnp.arange(size) + 0.5)[None, None] - centre[..., None])
  weight = jnp.maximum(0, 1 - distance / width[..., None])
  return weight / jnp.sum(weight, axis=-1, keepdims=True)
