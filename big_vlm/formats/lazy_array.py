"""LazyArray: an array of a file, read when it is asked for."""
import dataclasses
from collections.abc import Callable

import numpy as np


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
