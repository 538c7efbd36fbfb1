"""Devices in a mesh with named axes, and which leaf is sharded over which of them.

Axes: data (replicas), fsdp (parameters and batch), tensor (matmuls). Any may be 1. A rule is (regex
over a parameter's name, how), as ("llm/.*", "fsdp"): "fsdp", "replicate", or a tuple of axis names
per dimension such as (None, "tensor", "fsdp"). Optimizer moments and moving averages take the
sharding of their parameter. "fsdp" shards weights over tensor too, in the dimension that their
declaration gives (ParamSpec.tensor_axis); where it does not divide, such as a single kv head, the
leaf is not sharded over tensor.
"""
import itertools
import math
import re

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from big_vlm import families, trees
from big_vlm.nn.partitioning import BATCH_AXES, batch_rows

AXES = ("data", "fsdp", "tensor")
RULES = ((".*", "fsdp"),)
WOULD_SHARD = "fsdp={} would shard it"  # of a mesh in a note; tools.plan tries it

# A TPU stores an array in tiles of 8 x 128 over its last two dimensions; a part of a tile takes as
# many bytes as a whole one.
TILE = (8, 128)


def make_mesh(shape=None, devices=None):
  """Mesh over the devices; shape: {"data": 1, "fsdp": -1, "tensor": 1}, one -1 takes the rest.

  Where devices are of several slices of TPU, joined by a slower network, the data axis goes over
  the slices: only gradients cross it, once a step.
  """
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
  slices = {}
  for device in devices:
    slices.setdefault(getattr(device, "slice_index", 0), []).append(device)
  if sizes[0] % len(slices):
    raise ValueError(f"The devices are of {len(slices)} slices, over which the data axis goes, and "
                     f"data={sizes[0]} is not a multiple of that. Give data={len(slices)}.")
  part = (sizes[0] // len(slices), *sizes[1:])
  grids = [mesh_utils.create_device_mesh(part, group, allow_split_physical_axes=True)
           for _, group in sorted(slices.items())]
  return Mesh(np.concatenate(grids), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def dtype_on(mesh, dtype="auto"):
  """The name of a compute dtype; "auto" is bfloat16 on TPU and GPU, float32 on a CPU."""
  if dtype != "auto":
    return dtype
  return "float32" if mesh.devices.flat[0].platform == "cpu" else "bfloat16"


def batch_sharding(mesh):
  """Rows of a batch over all data and fsdp devices."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def tree_sharding(mesh, tree, rules=RULES, min_bytes=2**22, note=print):
  """NamedSharding for every leaf of tree (arrays or shapes).

  "fsdp" shards the dimension that the axis divides and that leaves the smallest part in tiles, of
  equals the largest; not that of layers nor the last if another will do. A leaf under min_bytes is
  replicated (its gather would cost more than its memory). note: told of a larger leaf that no
  dimension lets shard.
  """
  for regex, _ in rules:
    if found := re.search(r"(params|opt_state|ema)/", regex):
      raise ValueError(
          f"The sharding rule {regex!r} is now {regex.split(found[0])[-1]!r}: rules match names of "
          "parameters without params/, and optimizer moments take the sharding of their parameter.")
  hows = trees.assign(trees.names(tree), rules, "sharding")

  def place(name, leaf):
    how = hows[name]
    if how == "replicate":
      spec = ()
    elif how == "fsdp":
      spec = _fsdp(name, leaf, mesh.shape, min_bytes, note)
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


def state_sharding(mesh, state, params, min_bytes=2**22):
  """NamedSharding for every leaf of a TrainState whose parameters have the shardings `params`.

  An array beside a parameter and of its shape, such as Adam's moments, has that of the parameter;
  any other, such as Adafactor's row and column, is sharded as by "fsdp".
  """
  placed = {name: (leaf.shape, where) for name, leaf, where in zip(
      trees.names(state.params), jax.tree.leaves(state.params), jax.tree.leaves(params),
      strict=True)}

  def place(name, leaf):
    shape, where = placed.get(families.leaf_name(name), (None, None))
    if leaf.shape == shape:
      return where
    spec = _fsdp(name, leaf, mesh.shape, min_bytes, note=lambda line: None)
    return NamedSharding(mesh, PartitionSpec(*spec))
  return trees.map_with_names(place, state)


def _fsdp(name, leaf, axes, min_bytes, note):
  big = math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
  if axes["fsdp"] * axes["tensor"] == 1 or big < min_bytes:
    return ()
  spec, part = [None] * len(leaf.shape), list(leaf.shape)
  at = _tensor_axis(name, part)
  if axes["tensor"] > 1 and at is not None and part[at] % axes["tensor"] == 0:
    spec[at], part[at] = "tensor", part[at] // axes["tensor"]
  if axes["fsdp"] == 1:
    return spec
  fits = [d for d, n in enumerate(part) if spec[d] is None and n % axes["fsdp"] == 0]
  if not fits:
    fewer = max((math.gcd(n, axes["fsdp"]) for n in part), default=1)
    note(f"replicated: {name} {leaf.shape}, no dimension divides over {axes['fsdp']} devices"
         + f"; {WOULD_SHARD.format(fewer)}" * (fewer > 1))
    return spec if "tensor" in spec else ()

  def stored(d):
    return padded([n // axes["fsdp"] if i == d else n for i, n in enumerate(part)])
  # The first of many is that of stacked layers, of which a device needs one at a time. A gather
  # along the last dimension would not move whole rows.
  first, last = len(part) > 2, len(part) - 1
  spec[min(fits, key=lambda d: (first and d == 0, stored(d), d == last, -part[d]))] = "fsdp"
  return spec


def _tensor_axis(name, shape):
  """That of a parameter, or of an array of the same rank beside it, such as Adam's moments."""
  _, spec, part = families.locate(name) or (None, None, "")
  return spec.tensor_axis if spec and not part and len(spec.axes.split()) == len(shape) else None


def padded(shape):
  """Elements that an array of this shape takes where it is stored in tiles."""
  tiled = [-(-n // t) * t for n, t in itertools.zip_longest(shape[::-1], TILE[::-1], fillvalue=1)]
  return math.prod(tiled[:len(shape)])


def local_batch_rows(mesh, batch_size):
  """The rows of a batch that this process feeds, ascending: those that its devices hold.

  Row order is that of the mesh, so a batch is the same whatever the number of processes. Raises
  ValueError where the batch does not divide.
  """
  if batch_size % batch_rows(mesh):
    raise ValueError(f"A batch of {batch_size} does not divide over the {batch_rows(mesh)} devices "
                     f"of the mesh axes {' and '.join(BATCH_AXES)}.")
  held = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
  return np.unique(np.concatenate([np.arange(batch_size)[index] for index in held]))


def make_global_array(mesh, batch, batch_size=None):
  """A host batch {key: numpy} -> global arrays, sharded over the mesh.

  batch_size: of the whole batch, of which `batch` has this process's rows (local_batch_rows).
  Without it each process has all of them.
  """
  sharding = batch_sharding(mesh)
  if batch_size is None:
    return {k: jax.make_array_from_callback(x.shape, sharding, lambda index, x=x: x[index])
            for k, x in batch.items()}
  at = np.full(batch_size, -1)
  rows = local_batch_rows(mesh, batch_size)
  at[rows] = np.arange(len(rows))

  def place(x):
    def part(index):
      first, last, _ = index[0].indices(batch_size)
      return x[at[first]:at[first] + last - first]
    return jax.make_array_from_callback((batch_size, *x.shape[1:]), sharding, part)
  return {k: place(x) for k, x in batch.items()}
