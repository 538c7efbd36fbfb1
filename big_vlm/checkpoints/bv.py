"""big_vision's folders of a training, checkpoint.bv-000001000: their parameters, read alone.

The tree is that of its .npz files, and so is how the model is told.
"""
import pathlib

from big_vlm.checkpoints import npz
from big_vlm.formats import bv


def can_read(path):
  return bv.is_folder(bv.split_part(path)[0])


def open_source(path):
  """Raises ValueError for a damaged array, naming it."""
  folder, part = bv.split_part(path)
  arrays = bv.read_folder(folder, "params/")
  return npz.described(arrays, part, path, pathlib.Path(folder))
