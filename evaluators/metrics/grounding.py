"""Grounding: does the box that an answer gives for an expression lie on the object it means?

Boxes are (ymin, xmin, ymax, xmax) in 0..1 of the image.
"""
import math

from evaluators.metrics.ids import paired
from pp import locations


def box_iou(a, b):
  """Intersection over union in 0..1 of two boxes (ymin, xmin, ymax, xmax), in any one unit.

  A box with its edges in the wrong order has no area; two without area have IoU 0.
  """
  def area(ymin, xmin, ymax, xmax):
    return max(ymax - ymin, 0.) * max(xmax - xmin, 0.)
  shared = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
  union = area(*a) + area(*b) - shared
  return shared / union if union > 0 else 0.


def first_box(text):
  """The box of an answer's first well-formed object "<loc....>x4 label", or None."""
  objects = locations.parse_objects(text)
  return objects[0].box if objects else None


def box_accuracy(predictions, truths, ious=(.5, .75)):
  """Referring-expression comprehension: share of expressions whose box reaches an IoU.

  IoU at least 0.5 is the field's rule since RefCOCO (Yu et al. 2016) and big_vision's boxacc.

  Args:
    predictions: {id: answer, a str of which the first object counts, or a box}.
    truths: {id: box}, the same ids.
    ious: thresholds.

  Returns:
    ({"boxacc/0.5", ..: 0..1, "mean_iou": 0..1, "invalid": answers without a box, "total"},
     {id: IoU})

  Raises:
    ValueError: for ids that differ or no ids, and a box that is not four finite numbers.
  """
  scores, invalid = {}, 0
  for name, prediction, truth in paired(predictions, truths):
    box = first_box(prediction) if isinstance(prediction, str) else prediction
    check_box(truth, name)
    if box is not None:
      check_box(box, name)
    invalid += box is None
    scores[name] = 0. if box is None else box_iou(box, truth)
  return {**shares(scores.values(), ious), "mean_iou": sum(scores.values()) / len(scores),
          "invalid": invalid, "total": len(scores)}, scores


def shares(values, thresholds):
  """{"boxacc/T": share of the values that are at least T} for each threshold."""
  values = list(values)
  return {f"boxacc/{t}": sum(v >= t for v in values) / len(values) for t in thresholds}


def check_box(box, name):
  """ValueError unless a box is four finite numbers."""
  if len(box) != 4 or not all(map(math.isfinite, box)):
    raise ValueError(f"{name!r}: a box is four finite numbers ymin, xmin, ymax, xmax; got {box}.")
