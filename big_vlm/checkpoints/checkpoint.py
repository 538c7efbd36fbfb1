"""What a checkpoint of any format is to the rest of the project: a Checkpoint of LazyArray arrays.

Each format is a module (native, npz, hf, keras) with three functions:

  claims(path) -> bool                 whether the file or folder is of this format
  open_source(path) -> Checkpoint          reads names, shapes and config; no tensor yet
  write(path, source, note)            writes a Checkpoint into the empty folder `path` (npz: the file)

so a conversion is write(path, open_source(other)), one tensor in memory at a time.
"""
import collections
import dataclasses
from collections.abc import Callable

import numpy as np

from big_vlm.families.paligemma import PaliGemmaConfig


@dataclasses.dataclass(frozen=True)
class LazyArray:
  """An array on a disk or a device.

  read(index): numpy array of the slices and integers in the tuple `index` over its first axes;
  read(()) gives all of it. bfloat16 is ml_dtypes'.
  """
  shape: tuple
  dtype: np.dtype
  read: Callable

  @property
  def nbytes(self):
    return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def from_array(x):
  """The LazyArray of an array in memory."""
  return LazyArray(tuple(x.shape), np.dtype(x.dtype), lambda index=(): np.asarray(x[tuple(index)]))


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A checkpoint: its model, its parameters by name ("llm/final_norm/scale"), its tokenizer."""
  path: str  # file or folder, for messages
  config: PaliGemmaConfig
  leaves: dict  # {name: LazyArray} in the names and shapes of our parameter tree
  tokenizer: str | None  # for pp.tokenizer.get_tokenizer; None: it has none

  @property
  def nbytes(self):
    return sum(leaf.nbytes for leaf in self.leaves.values())

  @property
  def dtype(self):
    """Name of the dtype in which most of the bytes are."""
    sizes = collections.Counter()
    for leaf in self.leaves.values():
      sizes[leaf.dtype.name] += leaf.nbytes
    return sizes.most_common(1)[0][0]
