"""Keras 3 weight files, single or sharded: read dataset by dataset, written as a stream.

    model.weights.h5        layers/<layer>/vars/0, layers/<layer>/vars/1, ...: one dataset a tensor
    model.weights.json      or, sharded: {"metadata": {"total_size": bytes},
    model_00000.weights.h5                "weight_map": {"/layers/<layer>/vars": "model_00000..."}}
    ...

bfloat16 is stored as 2-byte void with the attribute dtype = "bfloat16". Files are opened for each
read and closed again: thousands of LazyArrays hold no file open, and threads may read at once.
"""
import contextlib
import pathlib

import ml_dtypes
import numpy as np
from etils import epy

from big_vlm import files
from big_vlm.formats import shards, survey
from big_vlm.formats.lazy_array import LazyArray

with epy.lazy_imports(error_callback="pip install 'big_vlm[keras]'"):  # slow to import
  import h5py

WEIGHTS = "model.weights.h5"
INDEX = "model.weights.json"
MAX_SHARD = 10 << 30  # bytes: KerasHub's default
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def read_folder(folder):
  """{"layers/reversible_embedding/vars/0": LazyArray, ...} of a folder; no tensor is read yet.

  As in KerasHub a single file comes before shards. Raises FileNotFoundError if there is neither or
  a shard is missing, and ValueError, which names the file, for a corrupt one.
  """
  folder = pathlib.Path(folder)
  if (folder / WEIGHTS).exists():
    return read_file(folder / WEIGHTS)
  if not (folder / INDEX).exists():
    raise FileNotFoundError(f"{folder} holds no weights: neither {WEIGHTS} nor {INDEX} with its "
                            "shards. The download was not finished: fetch them into this folder.")
  weight_map = shards.read_index(folder / INDEX)
  found = {f: read_file(folder / f) for f in sorted({f for fs in weight_map.values() for f in fs})}
  for group, parts in weight_map.items():  # a group's datasets may be spread over several files
    if not any(n.startswith(group.strip("/") + "/") for f in parts for n in found[f]):
      raise shards.foreign(folder / parts[0], group, INDEX)
  return {name: leaf for shard in found.values() for name, leaf in shard.items()}


def read_file(path):
  """{dataset name: LazyArray} of one .h5 file. Raises ValueError, which names it, for a corrupt
  one, and for what Keras never writes."""
  path = pathlib.Path(path)
  files.inside(path.parent, path.name)
  h5py.version  # noqa: B018 - where it is missing, its import says what to install
  if pointer := shards.lfs_pointer(path):
    raise ValueError(f"{path} {pointer}")
  return {name: _leaf(path, name, *what) for name, what in survey.h5(path).items()}


@contextlib.contextmanager
def _opened(path, name):
  """The open file; what h5py raises becomes one ValueError that names the file and the dataset."""
  try:
    with h5py.File(path, "r") as f:
      yield f
  except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as e:
    raise ValueError(f"{name!r} of {path} cannot be read: it is cut short or corrupt ({e}). Copy "
                     "or download the file again.") from e


def _leaf(path, name, shape, dtype):
  dtype = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)

  def read(index=()):
    with _opened(path, name) as f:
      return np.asarray(f[name][tuple(index)]).view(dtype)

  return LazyArray(shape, dtype, read)


def write_folder(folder, tensors, note=lambda done, total: None, max_shard=MAX_SHARD):
  """Writes {name: LazyArray}, one tensor in memory at a time: one file, or if that were above
  max_shard bytes shards of at most that and their index.

  A layer's datasets stay in one shard; a layer larger than max_shard is a shard of its own.
  note(done, total): called as bytes are written.
  """
  folder, done = pathlib.Path(folder), 0
  total = sum(leaf.nbytes for leaf in tensors.values())
  files = {WEIGHTS: list(tensors)} if total <= max_shard else {
      f"model_{i:05}.weights.h5": names
      for i, names in enumerate(shards.split(tensors, max_shard, _group))}
  for file, names in files.items():
    with h5py.File(folder / file, "w") as f:
      for name in names:
        _write(f, name, tensors[name].read(()))
        done += tensors[name].nbytes
        note(done, total)
  if WEIGHTS not in files:
    weight_map = {"/" + _group(name): file for file, names in files.items() for name in names}
    shards.write_index(folder / INDEX, weight_map, total)


def _group(name):
  return name.rpartition("/")[0]


def _write(file, name, tensor):
  if tensor.dtype == BFLOAT16:
    file.create_dataset(name, data=tensor.view("V2")).attrs["dtype"] = "bfloat16"
  else:
    file.create_dataset(name, data=tensor)
