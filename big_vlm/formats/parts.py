"""A part of a checkpoint: "x.npz:img", or "W/checkpoint.bv:img"."""
from big_vlm.formats import bv, npz


def split_part(path):
  """("x.npz", "sub/tree") of "x.npz:sub/tree"; (path, "") where no part is meant."""
  file, part = npz.split_part(path)
  return (file, part) if part else bv.split_part(path)
