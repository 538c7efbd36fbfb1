"""Detection: COCO's average precision of the boxes in answers "<loc....>x4 label ; ..."."""
import math

from big_vlm.decode.objects import read
from evaluators.metrics import detection
from pp import locations


def score(rows, tokenizer):
  """{"AP", "AP50", "AP75"} against "objects/bbox" (ymin xmin ymax xmax in 0..1), "objects/label".

  An object's score is the probability of its own tokens. A row's "score" is its share of objects
  found at IoU 0.5, with extra boxes counted as misses.
  """
  images, annotations, predictions = [], [], []
  names = sorted({_text(label) for row in rows for label in row["objects/label"]})
  for i, row in enumerate(rows):
    h, w = row["image_size"]
    images.append({"id": i, "height": h, "width": w})
    row["ref_boxes"] = [{"box": tuple(map(float, box)), "label": _text(label)} for box, label in
                        zip(row["objects/bbox"], row["objects/label"])]
    row["pred_boxes"] = list(objects(row, tokenizer))
    for ref in row["ref_boxes"]:
      y0, x0, y1, x1 = ref["box"]
      annotations.append({"image_id": i, "category_id": names.index(ref["label"]),
                          "bbox": [x0 * w, y0 * h, (x1 - x0) * w, (y1 - y0) * h]})
    predictions.append({"image_id": i, "objects": row["pred_boxes"],
                        "scores": [o["score"] for o in row["pred_boxes"]]})
    row["score"] = share_found(row["pred_boxes"], row["ref_boxes"])
    row["correct"] = row["score"] == 1
  result = detection.coco_map(predictions, images, annotations,
                              [{"id": i, "name": name} for i, name in enumerate(names)])
  return {k: float(result[k]) for k in ("AP", "AP50", "AP75")}


def objects(row, tokenizer):
  """Yields {"box", "label", "score"} of an answer, the score from the object's tokens."""
  if "tokens" not in row:  # no model wrote it
    yield from ({"box": o.box, "label": o.label, "score": 1.0}
                for o in locations.parse_objects(row["prediction"]))
    return
  for found in read(row["tokens"], row["logprobs"], tokenizer):
    yield {"box": found.object.box, "label": found.object.label, "score": math.exp(found.all)}


def share_found(predicted, references, iou=0.5):
  """Matches (same label, IoU at least `iou`, each box once) over the larger of the two counts."""
  left, found = list(references), 0
  for p in predicted:
    best = max((r for r in left if r["label"] == p["label"]),
               key=lambda r: box_iou(p["box"], r["box"]), default=None)
    if best is not None and box_iou(p["box"], best["box"]) >= iou:
      left.remove(best)
      found += 1
  return found / max(len(predicted), len(references), 1)


def box_iou(a, b):
  """Intersection over union of two boxes (ymin, xmin, ymax, xmax)."""
  h = max(0, min(a[2], b[2]) - max(a[0], b[0]))
  w = max(0, min(a[3], b[3]) - max(a[1], b[1]))
  area = lambda box: max(0, box[2] - box[0]) * max(0, box[3] - box[1])
  union = area(a) + area(b) - h * w
  return h * w / union if union else 0.


def _text(label):
  return label.decode() if isinstance(label, bytes) else str(label)
