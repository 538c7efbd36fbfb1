"""Detection: COCO's average precision of the boxes in answers "<loc....>x4 label ; ..."."""
import math

import numpy as np

from big_vlm.decode import detections as decoded
from evaluators.metrics.grounding import box_iou, four
from evaluators.predictions import require_keys
from pp import locations
from pp.names import pick
from pp.tokenizer import check_single_ids

PERCENT = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
IOUS = tuple(np.arange(10) / 20 + 0.5)
UNDEFINED = {"AP": "the set has no object but crowds, which count neither for nor against"}

# The log-probability that ranks an object: the sum over some of its tokens.
CONFIDENCES = {"all": lambda found: found.all, "box": lambda found: found.box,
               "label": lambda found: found.label or 0.,
               "box_label": lambda found: found.box + (found.label or 0.)}


def check(confidence="all"):
  pick(CONFIDENCES, confidence, "confidence of objects")


def score(predictions, tokenizer, confidence="all"):
  """COCO's AP and AR, 0..1, against "objects/bbox" (ymin xmin ymax xmax in 0..1), "objects/label".

  confidence: a row of CONFIDENCES; "label" is PaliGemma 2's, "all" needs no label. "height" and
  "width", the image's own, and "objects/area" in its pixels, decide what is small; without them the
  size that the model sees does; a size that no object has is left out. Crowds ("objects/is_crowd")
  count neither for nor against; AP is NaN where there is no other object. A prediction's "score" is
  its fraction of objects found at IoU 0.5, with extra boxes counted as misses.
  """
  from evaluators.metrics import detection  # here: pycocotools
  require_keys(predictions, ["objects/bbox", "objects/label"], "detection")
  read = pick(CONFIDENCES, confidence, "confidence of objects")
  for p in predictions:
    require_keys([p], ["height", "width"] if "height" in p else ["image_size"], "detection")
    check_lists(p)
    p["pred_boxes"] = list(objects(p, tokenizer, read))
    p["ref_boxes"] = [r for r, crowd in zip(references(p), crowds(p)) if not crowd]
    p["references"] = [" ; ".join(
        f"{locations.box_to_loc(r['box'])} {r['label']}" for r in p["ref_boxes"])]
    p["score"] = fraction_found(p["pred_boxes"], p["ref_boxes"])
    p["correct"] = p["score"] == 1
  result = detection.coco_map(*coco_arguments(predictions))
  reported = PERCENT if any("objects/area" in p for p in predictions) else PERCENT[:3]
  return {k: float(result[k]) if result[k] >= 0 else math.nan  # pycocotools' -1
          for k in reported if k == "AP" or result[k] >= 0}


def reward(predictions, tokenizer, ious=IOUS):
  """[float]: fraction_found() of each prediction at COCO's ten thresholds of IoU (or `ious`): as AP
  it asks for all objects, for tight boxes and for no others."""
  require_keys(predictions, ["objects/bbox", "objects/label"], "detection")
  found = []
  for p in predictions:
    check_lists(p)
    predicted = list(objects(p, tokenizer))
    true = [r for r, crowd in zip(references(p), crowds(p)) if not crowd]
    found.append(fraction_found(predicted, true, ious))
  return found


def coco_arguments(predictions):
  """The arguments of metrics.detection.coco_map for predictions that score() has seen."""
  images, annotations, answers = [], [], []
  names = sorted({str(label) for p in predictions for label in p["objects/label"]})
  for i, p in enumerate(predictions):
    h, w = (p["height"], p["width"]) if "height" in p else p["image_size"]
    images.append({"id": i, "height": h, "width": w})
    areas = p.get("objects/area", [None] * len(p["objects/label"]))
    for r, area, crowd in zip(references(p), areas, crowds(p)):
      y0, x0, y1, x1 = r["box"]
      annotations.append({"image_id": i, "category_id": names.index(r["label"]),
                          "bbox": [x0 * w, y0 * h, (x1 - x0) * w, (y1 - y0) * h],
                          "iscrowd": int(crowd), **({} if area is None else {"area": area})})
    answers.append({"image_id": i, "objects": p["pred_boxes"],
                    "scores": [o["score"] for o in p["pred_boxes"]]})
  return answers, images, annotations, [{"id": i, "name": name} for i, name in enumerate(names)]


def matches(predictions):
  """metrics.detection_matches.Matches of predictions that score() has seen."""
  from evaluators.metrics import detection, detection_matches  # here: pycocotools
  return detection_matches.Matches.of(detection.evaluate(*coco_arguments(predictions))[0])


def references(p):
  """[{"box", "label"}] of a prediction's example, with crowds."""
  return [{"box": true_box(box, p), "label": str(label)}
          for box, label in zip(p["objects/bbox"], p["objects/label"])]


def crowds(p):
  return p.get("objects/is_crowd", [False] * len(p["objects/label"]))


def check_lists(p):
  """Raises ValueError unless a prediction has one box, label, ... for each object."""
  given = {key: p[key] for key in ("objects/bbox", "objects/label", "objects/is_crowd",
                                   "objects/area") if key in p}
  lists = [v for v in given.values() if isinstance(v, (list, tuple, np.ndarray))]
  if len(lists) < len(given) or len(set(map(len, lists))) > 1:
    raise ValueError(f"The example {p.get('id')!r} needs lists of equal length, but has "
                     + ", ".join(f"{k}={v!r:.60}" for k, v in given.items()) + ".")


def true_box(box, p):
  """(ymin, xmin, ymax, xmax). Raises ValueError where that is no box in 0..1, as one in pixels."""
  ymin, xmin, ymax, xmax = found = four(box, f"A box of the example {p.get('id')!r}")
  if ymin > ymax or xmin > xmax or min(found) < -.5 or max(found) > 1.5:
    raise ValueError(f"The box {list(found)} of the example {p.get('id')!r} is not ymin <= ymax, "
                     "xmin <= xmax in 0..1 of the image.")
  return found


def objects(prediction, tokenizer, confidence=CONFIDENCES["all"]):
  """Yields {"box", "label", "score"} of a prediction, the score from the object's tokens.

  Raises ValueError for a tokenizer that has no tokens for locations.
  """
  if "tokens" not in prediction:  # no model wrote it
    yield from ({"box": o.box, "label": o.label, "score": 1.0}
                for o in locations.parse_objects(prediction["prediction"]))
    return
  check_single_ids(tokenizer, ("<loc0000>", "<loc1023>"))
  for found in decoded.read(prediction["tokens"], prediction["logprobs"], tokenizer):
    if found.box is not None:
      yield {"box": found.object.box, "label": found.object.label,
             "score": math.exp(confidence(found))}


def fraction_found(predicted, references, ious=(0.5,)):
  """Matches (same label, IoU at least a threshold, each box once) over the larger of the two
  counts, the mean over the thresholds; 1 where both are empty."""
  overlaps = [[box_iou(p["box"], r["box"]) if p["label"] == r["label"] else -1. for r in references]
              for p in predicted]

  def matches(iou):
    left, found = list(range(len(references))), 0
    for overlap in overlaps:
      best = max(left, key=overlap.__getitem__, default=None)
      if best is not None and overlap[best] >= iou:
        left.remove(best)
        found += 1
    return found
  most = max(len(predicted), len(references))
  return float(np.mean([matches(iou) / most for iou in ious])) if most else 1.
