"""Devices in a mesh with named axes, and which leaf is cut along which of them.

Axes: data (replicas), fsdp (parameters and batch cut), tensor (products cut). Any may be 1.
A rule is (regex over the leaf's name, how): "fsdp", "replicate", or a tuple of axis names per
dimension such as (None, "tensor", "fsdp").
"""
import math

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from big_vlm import trees

AXES = ("data", "fsdp", "tensor")
RULES = ((".*", "fsdp"),)
BATCH_AXES = ("data", "fsdp")


def make_mesh(shape=None, devices=None):
  """Mesh over the devices; shape: {"data": 1, "fsdp": -1, "tensor": 1}, one -1 takes the rest."""
  devices = jax.devices() if devices is None else devices
  shape = {"data": 1, "fsdp": -1, "tensor": 1} | dict(shape or {})
  if unknown := set(shape) - set(AXES):
    raise ValueError(f"Unknown mesh axes {sorted(unknown)}; there are {', '.join(AXES)}.")
  if any(n < 1 and n != -1 for n in shape.values()):
    raise ValueError(f"The mesh {shape} has an axis that is neither above 0 nor -1, the rest.")
  known = math.prod(n for n in shape.values() if n != -1)
  sizes = [len(devices) // known if shape[a] == -1 else shape[a] for a in AXES]
  if math.prod(sizes) != len(devices):
    raise ValueError(f"A mesh of {dict(zip(AXES, sizes))} does not cover {len(devices)} devices. "
                     "Give one axis -1, and sizes whose product divides the device count.")
  return jax.make_mesh(sizes, AXES, devices=devices,
                       axis_types=(jax.sharding.AxisType.Auto,) * len(AXES))


def batch_sharding(mesh):
  """Rows of a batch over all data and fsdp devices."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def batch_rows(mesh):
  """A batch is cut into so many parts: its rows are a multiple."""
  return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def tree_sharding(mesh, tree, rules=RULES, min_bytes=2**22, note=print):
  """NamedSharding for every leaf of tree (arrays or shapes).

  "fsdp" cuts the largest dimension that the axis divides; a leaf under min_bytes stays whole (its
  gather would cost more than its memory), and a larger one that nothing divides is noted.
  """
  hows = trees.assign(trees.names(tree), rules, "sharding")

  def place(name, leaf):
    how = hows[name]
    if how == "replicate":
      spec = ()
    elif how == "fsdp":
      spec = _fsdp(name, leaf, mesh.shape["fsdp"], min_bytes, note)
    else:
      spec = how
      if isinstance(how, str) or len(how) != len(leaf.shape) or set(how) - {None, *AXES}:
        raise ValueError(f"{name} {leaf.shape}: the sharding {how!r} is not 'fsdp', 'replicate', "
                         f"or for each dimension None or one of {', '.join(AXES)}.")
      for size, axis in zip(leaf.shape, how):
        if axis and size % mesh.shape[axis]:
          raise ValueError(f"{name} {leaf.shape}: {size} does not divide over the {axis} axis of "
                           f"{mesh.shape[axis]} devices (rule {how}).")
    return NamedSharding(mesh, PartitionSpec(*spec))
  return trees.map_with_names(place, tree)


def _fsdp(name, leaf, size, min_bytes, note):
  big = math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
  if size == 1 or big < min_bytes:
    return ()
  fits = [d for d, n in enumerate(leaf.shape) if n % size == 0]
  if not fits:
    note(f"replicated: {name} {leaf.shape}, no dimension divides over {size} devices")
    return ()
  at = max(fits, key=lambda d: leaf.shape[d])
  return ("fsdp" if d == at else None for d in range(len(leaf.shape)))


def put_batch(mesh, batch):
  """This process's rows of a host batch {key: numpy} -> global arrays, cut over the mesh."""
  sharding = batch_sharding(mesh)
  return {k: jax.make_array_from_process_local_data(sharding, x) for k, x in batch.items()}
