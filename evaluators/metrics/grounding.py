"""Boxes that answers give for expressions, against the objects that these refer to.

Boxes are (ymin, xmin, ymax, xmax) in 0..1 of the image.
"""
import math

from evaluators.metrics import groups


def box_iou(a, b):
  """Intersection over union in 0..1 of two boxes (ymin, xmin, ymax, xmax), in any one unit.

  A box with its edges in the wrong order has no area; two without area have IoU 0.

  Raises:
    ValueError: unless each is four finite numbers.
  """
  a, b = four(a, "A box"), four(b, "A box")

  def area(ymin, xmin, ymax, xmax):
    return max(ymax - ymin, 0.) * max(xmax - xmin, 0.)
  shared = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
  union = area(*a) + area(*b) - shared
  return shared / union if union > 0 else 0.


def fractions_reaching(ious, thresholds):
  """{"boxacc/T": fraction of the IoUs that are at least T} for each threshold."""
  ious = list(ious)
  groups.mean(ious)  # for its errors
  return {f"boxacc/{t}": groups.mean(iou >= t for iou in ious) for t in thresholds}


def four(box, what, edges="ymin, xmin, ymax, xmax"):
  """A box as a tuple of floats. Raises ValueError unless it is four finite numbers."""
  try:
    found = tuple(map(float, box))
  except (TypeError, ValueError):
    found = ()
  if len(found) != 4 or not all(map(math.isfinite, found)) or isinstance(box, str):
    raise ValueError(f"{what} is four finite numbers, {edges}, not {box!r:.100}.")
  return found
