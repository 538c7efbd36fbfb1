"""Text spotting: the words of an image with their boxes, by the protocol of HierText."""
import json

import numpy as np

from evaluators.metrics import text_spotting
from evaluators.rows import need
from pp import locations
from pp.tokenizer import check_single_ids

PERCENT = ("precision", "recall", "f1", "detection_precision", "detection_recall", "detection_f1",
           "tightness", "pq")
RIGHT = 0.5  # F1 of an image


def score(rows, tokenizer):
  """{"precision", "recall", "f1" of words found and read, "detection_..." of words found,
  "tightness", "pq"} in 0..1 against "objects/label", "objects/polygon" and "ignored/polygon", words
  that nobody can read.

  A polygon is JSON, [[x, y], ...] in 0..1. A row's "score" is its own F1.
  """
  need(rows, ["objects/label", "objects/polygon", "ignored/polygon", "image_size"], "text_spotting")
  if tokenizer is not None:
    check_single_ids(tokenizer, ("<loc0000>", "<loc1023>"))
  predictions = [{"image_id": i, "text": row["prediction"]} for i, row in enumerate(rows)]
  images = [_image(i, row) for i, row in enumerate(rows)]
  for row, said, image in zip(rows, predictions, images, strict=True):
    row["score"] = float(text_spotting.word_scores([said], [image])["f1"])
    row["correct"] = row["score"] >= RIGHT
    row["references"] = [" ; ".join(map(str, row["objects/label"]))]
    row["pred_boxes"] = [{"box": o.box, "label": o.label, "score": None}
                         for o in locations.parse_objects(row["prediction"])]
    row["ref_boxes"] = [{"box": _box(word["polygon"] / _size(row)), "label": word["text"]}
                        for word in image["words"] if word["legible"]]
  found = text_spotting.word_scores(predictions, images)
  return {name: float(found[name]) for name in PERCENT}


def _size(row):
  h, w = row["image_size"]
  return np.array([w, h], float)


def _image(i, row):
  """An image as word_scores() takes it, in pixels of what the model sees: a picture that is
  squashed as a whole keeps its IoUs."""
  words = [{"text": str(label), "polygon": np.array(json.loads(polygon)) * _size(row),
            "legible": True} for label, polygon in
           zip(row["objects/label"], row["objects/polygon"], strict=True)]
  words += [{"text": "", "polygon": np.array(json.loads(polygon)) * _size(row), "legible": False}
            for polygon in row["ignored/polygon"]]
  h, w = row["image_size"]
  return {"id": i, "height": h, "width": w, "words": words}


def _box(polygon):
  (xmin, ymin), (xmax, ymax) = polygon.min(axis=0), polygon.max(axis=0)
  return tuple(map(float, (ymin, xmin, ymax, xmax)))
