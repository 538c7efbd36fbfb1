"""How activations lie on the mesh that is set (jax.set_mesh): what the layers need of it."""
import math

import jax
from jax.sharding import PartitionSpec

BATCH_AXES = ("data", "fsdp")


def shard_activations(x):
  """x [B, ...] with its rows over data and fsdp, as the batch is, wherever such a mesh is set.

  Without it the compiler may spread activations like the weights that they meet: the program of
  PaliGemma 3B on 256 chips took 19 times as long a token. Rows that do not divide stay as they are.
  """
  mesh = jax.sharding.get_abstract_mesh()
  known = set(BATCH_AXES) <= set(mesh.axis_names) and not mesh.manual_axes
  if not known or x.shape[0] % batch_rows(mesh):
    return x
  return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH_AXES))


def is_sharded():
  """Whether a mesh is set whose devices share parameters."""
  mesh = jax.sharding.get_abstract_mesh()
  return not mesh.manual_axes and mesh.shape.get("fsdp", 1) * mesh.shape.get("tensor", 1) > 1


def batch_rows(mesh):
  """How many shards a batch has: its rows are a multiple. mesh: abstract or not, or empty."""
  return math.prod(mesh.shape.get(axis, 1) for axis in BATCH_AXES)
