"""big_vision's folders of a training, checkpoint.bv-000001000: their parameters, and the arrays
of the optimizer, for training/resume_bv.py.

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


def optimizer_arrays(path):
  """{"opt/1/0/1/llm/final_norm/scale": LazyArray, ...} of a folder, or of the newest that "W/x.bv"
  means. Raises ValueError for a damaged array, naming it, and where there are none."""
  folder = bv.located(path)
  arrays = bv.read_folder(folder, "opt/")
  if not arrays:
    raise ValueError(f"{folder} has parameters and no optimizer state: config.init.model={path} "
                     "starts from these.")
  return arrays
