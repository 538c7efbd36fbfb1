"""A folder in which Orbax keeps one tree of arrays: names and shapes first, arrays when asked for.

It has no checksums of its own: an array that cannot be read is named when it is read.
"""
import functools
import math

import jax
import numpy as np
from etils import epath, epy

from big_vlm import files, trees
from big_vlm.formats.lazy_array import LazyArray
from pp.foreign import most_unpacked
from pp.printable import printable

with epy.lazy_imports():  # slow to import
  import orbax.checkpoint as ocp

NOTES, MAX_NOTE = ("_METADATA", "_sharding"), 2 << 20  # JSON of 300 bytes a leaf; bytes of each


def read_folder(folder):
  """{name: LazyArray} of all leaves. Raises ValueError for a folder that is not whole."""
  folder = files.absolute(folder)
  leaves = metadata(folder)
  size = sum(map(_unpacked, leaves.values()))
  stored = sum(files.sizes_inside(folder).values()) if files.is_local(folder) else size
  if size > most_unpacked(stored):
    raise ValueError(f"{folder.name} is refused: it would grow from {stored:,} to {size:,} bytes.")
  read = lambda name: lambda index=(): restored(folder, name)[tuple(index)]
  return {name: LazyArray(tuple(x.shape), np.dtype(x.dtype), read(name))
          for name, x in leaves.items()}


def metadata(folder):
  """{leaf's name: Orbax's metadata}. Raises ValueError for a folder that is not whole, or that
  would lead outside of it."""
  try:
    sizes = files.sizes_inside(folder) if files.is_local(folder) else {}  # stores have no links
    if odd := [n for n in NOTES if sizes.get(n, 0) > MAX_NOTE]:
      raise ValueError(f"{odd[0]} has {sizes[odd[0]]:,} bytes; at most {MAX_NOTE:,} are read")
    # None would ask for JAX's backend, and a config that opens a checkpoint is read before
    # jax.distributed starts.
    handler = ocp.PyTreeCheckpointHandler(enable_pinned_host_transfer=False)
    tree = handler.metadata(files.absolute(folder)).tree
    list(map(_unpacked, jax.tree.leaves(tree)))
  except Exception as e:  # Orbax's and tensorstore's own kinds among them
    raise ValueError(f"{epath.Path(folder).name} is not a complete item of Orbax: {first_line(e)}"
                     ) from e
  return dict(zip(trees.names(tree), jax.tree.leaves(tree)))


def _unpacked(leaf):
  """Bytes of a leaf's chunks, which may be larger than it."""
  shape, chunk = tuple(leaf.shape), getattr(leaf.storage, "chunk_shape", None) or tuple(leaf.shape)
  return math.prod(-(-n // c) * c for n, c in zip(shape, chunk)) * np.dtype(leaf.dtype).itemsize


@functools.lru_cache(maxsize=1)  # a leaf is mostly read layer by layer
def restored(folder, name):
  """The array of a leaf. Raises ValueError, which names both, where it cannot be read."""
  item = 0
  for key in reversed(name.split("/")):
    item = {key: item}
  how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
  try:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
      tree = reader.restore(folder, args=ocp.args.PyTreeRestore(
          item=item, restore_args=how, partial_restore=True))
  except Exception as e:  # a damaged store raises tensorstore's and Orbax's own kinds
    raise ValueError(f"{folder}: {name} cannot be read: {first_line(e)}") from e
  return jax.tree.leaves(tree)[0]


def write_folder(folder, leaves, note=lambda done, total: None):
  """Writes {name: LazyArray} as a new folder; holds all of it in memory."""
  arrays, done, total = {}, 0, sum(leaf.nbytes for leaf in leaves.values())
  for name, leaf in leaves.items():
    arrays[name] = np.asarray(leaf.read(()))
    done += leaf.nbytes
    note(done, total)
  with ocp.PyTreeCheckpointer() as writer:
    writer.save(files.absolute(folder), trees.nested(arrays))


def first_line(error):
  """The first line of an error that says something, without the traces of C++ beneath it."""
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  return printable(lines[0] if lines else type(error).__name__, 300).rstrip(".")
