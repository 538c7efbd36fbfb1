"""Text spotting: the words of an image with their boxes, by the protocol of HierText."""
import json

import numpy as np

from evaluators.metrics import polygons, text_spotting
from evaluators.predictions import require_keys
from pp import locations
from pp.tokenizer import check_single_ids

PERCENT = ("precision", "recall", "f1", "detection_precision", "detection_recall", "detection_f1",
           "tightness", "pq")
CORRECT = 0.5  # F1 of an image


def score(predictions, tokenizer):
  """{"precision", "recall", "f1" of words found and read, "detection_..." of words found,
  "tightness", "pq"} in 0..1 against "objects/label", "objects/polygon" and "ignored/polygon", words
  that nobody can read.

  A polygon is JSON, [[x, y], ...] in 0..1. A prediction's "score" is its own F1.
  """
  require_keys(predictions, ["objects/label", "objects/polygon", "ignored/polygon", "image_size"],
               "text_spotting")
  if tokenizer is not None:
    check_single_ids(tokenizer, ("<loc0000>", "<loc1023>"))
  answers = [{"image_id": i, "text": p["prediction"]} for i, p in enumerate(predictions)]
  images = [_image(i, p) for i, p in enumerate(predictions)]
  for p, answer, image in zip(predictions, answers, images, strict=True):
    p["score"] = float(text_spotting.word_scores([answer], [image])["f1"])
    p["correct"] = p["score"] >= CORRECT
    p["references"] = [" ; ".join(map(str, p["objects/label"]))]
    p["pred_boxes"] = [{"box": o.box, "label": o.label, "score": None}
                       for o in locations.parse_objects(p["prediction"])]
    p["ref_boxes"] = [{"box": _box(word["polygon"] / _size(p)), "label": word["text"]}
                      for word in image["words"] if word["legible"]]
  results = text_spotting.word_scores(answers, images)
  return {name: float(results[name]) for name in PERCENT}


def _size(p):
  h, w = p["image_size"]
  return np.array([w, h], float)


def _image(i, p):
  """An image as word_scores() takes it, in pixels of the model's input.

  Squashing a whole image does not change its IoUs.
  """
  if len(p["objects/label"]) != len(p["objects/polygon"]):
    raise ValueError(f"The example {p.get('id')!r} has {len(p['objects/label'])} objects/label but "
                     f"{len(p['objects/polygon'])} objects/polygon.")
  words = [{"text": str(label), "polygon": _pixels(polygon, p), "legible": True}
           for label, polygon in zip(p["objects/label"], p["objects/polygon"])]
  words += [{"text": "", "polygon": _pixels(polygon, p), "legible": False}
            for polygon in p["ignored/polygon"]]
  h, w = p["image_size"]
  return {"id": i, "height": h, "width": w, "words": words}


def _pixels(polygon, p):
  """float [N, 2] of a polygon, a list or its JSON."""
  try:
    polygon = json.loads(polygon) if isinstance(polygon, str) else polygon
  except ValueError:
    pass  # refused below
  return polygons.corners(polygon, f"A polygon of the example {p.get('id')!r}") * _size(p)


def _box(polygon):
  (xmin, ymin), (xmax, ymax) = polygon.min(axis=0), polygon.max(axis=0)
  return tuple(map(float, (ymin, xmin, ymax, xmax)))
