"""Detection: COCO's average precision of the boxes in answers "<loc....>x4 label ; ..."."""
import math

from big_vlm.decode import detections as decoded
from evaluators.metrics.grounding import box_iou
from evaluators.rows import need
from pp import locations
from pp.names import pick
from pp.tokenizer import check_single_ids

PERCENT = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")

# What an object is ranked by: the probability of which of its tokens.
CONFIDENCES = {"all": lambda found: found.all, "box": lambda found: found.box,
               "label": lambda found: found.label or 0.,
               "box_label": lambda found: found.box + (found.label or 0.)}


def check(confidence="all"):
  pick(CONFIDENCES, confidence, "confidence of objects")


def score(rows, tokenizer, confidence="all"):
  """COCO's AP and AR, 0..1, against "objects/bbox" (ymin xmin ymax xmax in 0..1), "objects/label".

  confidence: a row of CONFIDENCES; "label" is PaliGemma 2's, "all" needs no label. "height" and
  "width", the image's own, and "objects/area" in its pixels, decide what is small; without them the
  size that the model sees does; a size that no object has is left out. Crowds ("objects/is_crowd")
  count neither for nor against. A row's "score" is its share of objects found at IoU 0.5, with
  extra boxes counted as misses.
  """
  from evaluators.metrics import detection  # here: pycocotools
  need(rows, ["objects/bbox", "objects/label"], "detection")
  read = pick(CONFIDENCES, confidence, "confidence of objects")
  images, annotations, predictions = [], [], []
  names = sorted({str(label) for row in rows for label in row["objects/label"]})
  for i, row in enumerate(rows):
    if "height" not in row:
      need([row], ["image_size"], "detection")
    h, w = (row["height"], row["width"]) if "height" in row else row["image_size"]
    images.append({"id": i, "height": h, "width": w})
    crowds = row.get("objects/is_crowd", [False] * len(row["objects/label"]))
    references = [{"box": tuple(map(float, box)), "label": str(label)}
                  for box, label in zip(row["objects/bbox"], row["objects/label"], strict=True)]
    row["pred_boxes"] = list(objects(row, tokenizer, read))
    row["ref_boxes"] = [r for r, crowd in zip(references, crowds, strict=True) if not crowd]
    row["references"] = [" ; ".join(
        f"{locations.box_to_loc(r['box'])} {r['label']}" for r in row["ref_boxes"])]
    areas = row.get("objects/area", [None] * len(references))
    for r, area, crowd in zip(references, areas, crowds, strict=True):
      y0, x0, y1, x1 = r["box"]
      annotations.append({"image_id": i, "category_id": names.index(r["label"]),
                          "bbox": [x0 * w, y0 * h, (x1 - x0) * w, (y1 - y0) * h],
                          "iscrowd": int(crowd), **({} if area is None else {"area": area})})
    predictions.append({"image_id": i, "objects": row["pred_boxes"],
                        "scores": [o["score"] for o in row["pred_boxes"]]})
    row["score"] = share_found(row["pred_boxes"], row["ref_boxes"])
    row["correct"] = row["score"] == 1
  result = detection.coco_map(predictions, images, annotations,
                              [{"id": i, "name": name} for i, name in enumerate(names)])
  shown = PERCENT if any("objects/area" in row for row in rows) else PERCENT[:3]
  return {k: float(result[k]) for k in shown if k == "AP" or result[k] >= 0}


def objects(row, tokenizer, confidence=CONFIDENCES["all"]):
  """Yields {"box", "label", "score"} of an answer, the score from the object's tokens.

  Raises ValueError for a tokenizer that has no tokens for locations.
  """
  if "tokens" not in row:  # no model wrote it
    yield from ({"box": o.box, "label": o.label, "score": 1.0}
                for o in locations.parse_objects(row["prediction"]))
    return
  check_single_ids(tokenizer, ("<loc0000>", "<loc1023>"))
  for found in decoded.read(row["tokens"], row["logprobs"], tokenizer):
    if found.box is not None:
      yield {"box": found.object.box, "label": found.object.label,
             "score": math.exp(confidence(found))}


def share_found(predicted, references, iou=0.5):
  """Matches (same label, IoU at least `iou`, each box once) over the larger of the two counts; 1
  where there is nothing and nothing is said."""
  left, found = list(references), 0
  for p in predicted:
    best = max((r for r in left if r["label"] == p["label"]),
               key=lambda r: box_iou(p["box"], r["box"]), default=None)
    if best is not None and box_iou(p["box"], best["box"]) >= iou:
      left.remove(best)
      found += 1
  most = max(len(predicted), len(references))
  return found / most if most else 1.
