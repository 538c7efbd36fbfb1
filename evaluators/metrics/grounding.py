"""Boxes that answers give for expressions, against the objects that these refer to.

Boxes are (ymin, xmin, ymax, xmax) in 0..1 of the image.
"""
import math


def box_iou(a, b):
  """Intersection over union in 0..1 of two boxes (ymin, xmin, ymax, xmax), in any one unit.

  A box with its edges in the wrong order has no area; two without area have IoU 0.
  """
  def area(ymin, xmin, ymax, xmax):
    return max(ymax - ymin, 0.) * max(xmax - xmin, 0.)
  shared = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
  union = area(*a) + area(*b) - shared
  return shared / union if union > 0 else 0.


def fractions_reaching(ious, thresholds):
  """{"boxacc/T": fraction of the IoUs that are at least T} for each threshold."""
  ious = list(ious)
  return {f"boxacc/{t}": sum(iou >= t for iou in ious) / len(ious) for t in thresholds}


def check_box(box, name):
  """ValueError unless a box is four finite numbers."""
  if len(box) != 4 or not all(map(math.isfinite, box)):
    raise ValueError(f"{name!r}: a box is four finite numbers ymin, xmin, ymax, xmax; got {box}.")
