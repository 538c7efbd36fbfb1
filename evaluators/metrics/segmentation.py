"""Referring segmentation (RefCOCO, RefCOCO+, RefCOCOg): masks of answers against true masks.

  <loc0102><loc0204><loc0511><loc1023><seg003>x16 label    an answer: box, mask, whatever follows

  miou   mean over expressions of the mask IoU: PaliGemma's number
  ciou   sum of intersections / sum of unions, also called oIoU: what many other papers report
  gIoU   of other papers is miou where every expression has an object

The rules for an answer are those of big_vision's evaluators/proj/paligemma/transfers/
segmentation.py: it begins with the 20 tokens, its box has ymin < ymax and xmin < xmax, the box's
edges in pixels of the true mask are cut off to integers, the 64 x 64 mask is resized into it by
Pillow's bilinear filter, and the object is where that is above 0. Anything else, a box that holds
no pixel too, has IoU 0 and is counted as invalid.
"""
import re

import numpy as np

from evaluators.metrics.grounding import box_iou, four, fractions_reaching
from evaluators.metrics.ids import paired
from pp import locations, mask_codes

ANSWER = re.compile(locations.LOC4 + locations.SEG16)
DECODED_AT_ONCE = 64


def mask_iou(prediction, truth):
  """Intersection over union of two masks, 0..1.

  Args:
    prediction, truth: [H, W] of the same shape, bool or numbers, the object where above 0.

  Returns:
    float; 1 where both are empty, since they agree.

  Raises:
    ValueError: for other shapes.
  """
  shared, union = _overlap(prediction, truth)
  return shared / union if union else 1.


def referring(predictions, truths, decode=None, box_ious=(.5, .75)):
  """mIoU, cIoU and box accuracy of a set of referring expressions.

  Args:
    predictions: {id: answer, a str, or {"mask": [H, W] of the true mask's shape, "box": default
      the mask's bounding box}}. Boxes are (ymin, xmin, ymax, xmax) in 0..1.
    truths: {id: {"mask": [H, W] in the original resolution, "box"}}, the same ids.
    decode: codes int32 [N, 16] -> masks float [N, 64, 64] or [N, 64, 64, 1], above 0 where the
      object is; N is at most 64. Needed for answers.
    box_ious: thresholds of box accuracy.

  Returns:
    ({"miou", "ciou", "boxacc/0.5", "boxacc/0.75": 0..1, "invalid", "total": counts}, {id: IoU})

  Raises:
    ValueError: for ids that differ or no ids, masks of other shapes, an empty true mask, a box
      that is not four finite numbers, and answers without `decode`.
  """
  pairs = paired(predictions, truths)
  answers = _answers([p for _, p, _ in pairs if isinstance(p, str)], decode)
  ious, box_overlaps, sums, invalid = {}, [], np.zeros(2), 0
  for name, prediction, truth in pairs:
    true_mask = _inside(truth["mask"], f"The true mask of {name!r}")
    true_box = four(truth["box"], f"The true box of {name!r}")
    if not true_mask.any():
      raise ValueError(f"The true mask of {name!r} is empty: an expression without an object has "
                       "no IoU.")
    if isinstance(prediction, str):
      box, mask64 = next(answers)
      mask = None
      if box is not None and _holds_a_pixel(box, true_mask.shape):
        mask = mask_codes.paste(mask64, box, true_mask.shape)
    elif isinstance(prediction, dict) and "mask" in prediction:
      mask = _inside(prediction["mask"], f"The predicted mask of {name!r}")
      box = prediction.get("box", bounding_box(mask))
    else:
      raise ValueError(f"The prediction of {name!r} is an answer, str, or {{'mask': [H, W]}}, not "
                       f"{prediction!r:.100}.")
    if box is not None:
      box = four(box, f"The predicted box of {name!r}")
    invalid += mask is None
    overlap = (0, true_mask.sum()) if mask is None else _overlap(mask, true_mask)
    sums += overlap
    ious[name] = float(overlap[0] / overlap[1])
    box_overlaps.append(0. if box is None else box_iou(box, true_box))
  return {"miou": sum(ious.values()) / len(ious), "ciou": float(sums[0] / sums[1]),
          **fractions_reaching(box_overlaps, box_ious),
          "invalid": invalid, "total": len(ious)}, ious


def parse_answer(text):
  """(box in 0..1, codes int32 [16]) of an answer, or None where it is invalid."""
  match = ANSWER.match(text)
  if not match:
    return None
  numbers = [int(n) for n in locations.CODE.findall(match[0])]
  edges, codes = numbers[:4], numbers[4:]
  if (max(edges) >= locations.BINS or max(codes) >= locations.SEGS
      or edges[2] <= edges[0] or edges[3] <= edges[1]):
    return None
  return tuple(e / (locations.BINS - 1) for e in edges), np.array(codes, np.int32)


def _holds_a_pixel(box, size):
  ymin, xmin, ymax, xmax = mask_codes.pixel_box(box, size)
  return ymin < ymax and xmin < xmax


def bounding_box(mask):
  """(ymin, xmin, ymax, xmax) in 0..1 around the object of a mask [H, W]; None without one."""
  edges, mask = [], _inside(mask, "A mask")
  for axis in (0, 1):
    at = np.flatnonzero(mask.any(axis=1 - axis))
    if not at.size:
      return None
    edges.append((at[0] / mask.shape[axis], (at[-1] + 1) / mask.shape[axis]))
  (ymin, ymax), (xmin, xmax) = edges
  return ymin, xmin, ymax, xmax


def _inside(mask, what):
  """bool [H, W]: where a mask is above 0. Raises ValueError for anything else than such numbers."""
  found = np.asarray(mask)
  if found.ndim != 2 or found.dtype.kind not in "biuf" or np.isnan(found).any():
    raise ValueError(f"{what} is [H, W] numbers, above 0 where the object is and none of them NaN; "
                     f"this one is {list(found.shape)}, {found.dtype}.")
  return found > 0


def _overlap(prediction, truth):
  """(pixels of both, pixels of either)."""
  prediction, truth = _inside(prediction, "A mask"), _inside(truth, "A mask")
  if prediction.shape != truth.shape:
    raise ValueError(f"Masks to compare are [H, W] of one size, got {prediction.shape} and "
                     f"{truth.shape}: bring the predicted one to the size of the true one.")
  return int((prediction & truth).sum()), int((prediction | truth).sum())


def _answers(texts, decode):
  """Yields (box, mask float32 [64, 64]) for each text, (None, None) where it is invalid."""
  if texts and decode is None:
    raise ValueError("Answers need `decode`, a function from the 16 codes of a mask to the mask.")
  for begin in range(0, len(texts), DECODED_AT_ONCE):
    parsed = [parse_answer(text) for text in texts[begin:begin + DECODED_AT_ONCE]]
    codes = [p[1] for p in parsed if p]
    masks = iter(np.asarray(decode(np.stack(codes)), np.float32).reshape(-1, 64, 64)
                 if codes else ())
    for p in parsed:
      yield (p[0], next(masks)) if p else (None, None)
