"""Masks of objects -> the 16 codes of PaliGemma's segmentation, as the op `segment` writes them."""
import numpy as np
from pycocotools import mask as coco_mask

from pp import mask_codes


def encoder(path):
  """A function (annotations, (height, width)) -> [16 ints] of each, from a vae-oid.npz.

  It raises ValueError for an object without a mask.
  """
  params = mask_codes.load(path)
  return lambda annotations, size: [
      mask_codes.mask_to_codes(params, _pixels(a, *size), a.box) for a in annotations]


def _pixels(annotation, height, width):
  """uint8 [H, W], 0 or 255."""
  if not annotation.mask:
    raise ValueError(f"An object {annotation.label!r} has no mask, which --masks needs: polygons "
                     "or mask images of all objects. Without it boxes alone are written.")
  if isinstance(annotation.mask, dict):
    code = {**annotation.mask, "counts": annotation.mask["counts"].encode()}
  else:
    code = coco_mask.merge(coco_mask.frPyObjects(annotation.mask, height, width))
  return coco_mask.decode(code) * np.uint8(255)
