"""Masks of objects -> the 16 codes of PaliGemma's segmentation, as the op `segment` writes them."""
import numpy as np
from pycocotools import mask as coco_mask

from pp import mask_codes


def encoder(path):
  """A function (things, (height, width)) -> [16 ints] of each, from a vae-oid.npz.

  It raises ValueError for an object without a mask.
  """
  params = mask_codes.load(path)
  return lambda things, size: [
      mask_codes.mask_to_codes(params, _pixels(t, *size), t.box) for t in things]


def _pixels(thing, height, width):
  """uint8 [H, W], 0 or 255."""
  if not thing.mask:
    raise ValueError(f"An object {thing.label!r} has no mask, which --masks needs: polygons or "
                     "mask images of all objects. Without it boxes alone are written.")
  if isinstance(thing.mask, dict):
    code = {**thing.mask, "counts": thing.mask["counts"].encode()}
  else:
    code = coco_mask.merge(coco_mask.frPyObjects(thing.mask, height, width))
  return coco_mask.decode(code) * np.uint8(255)
