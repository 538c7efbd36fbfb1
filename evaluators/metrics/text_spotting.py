"""Text spotting by the protocol of HierText (Long et al. 2022), on words, as in PaliGemma 2.

  <loc0102><loc0204><loc0122><loc0511> Exit ; <loc....>x4 No. ; ...    an answer: box and word

A predicted word counts as found where it and a true word are each other's best match by polygon
IoU and that is at least 0.5; it counts as read where the transcription is the same besides,
character by character: no folding of case, no lexicon, no word too short (unlike ICDAR's own
rule). Predictions of which half or more lies in one word that nobody can read are left out first.
Precision and recall are over all words of the set together.
"""

import numpy as np

from evaluators.metrics import ids, polygons
from pp import locations

IOU = .5
IGNORED_FRACTION = .5
EPSILON = 1e-5  # square pixels: HierText's guard of divisions, which makes an IoU of 1/2 a miss


def word_scores(predictions, images):
  """Precision, recall and F1 of words, as HierText's evaluator with --e2e.

  Args:
    predictions: list of dicts, at most one for each image; an image without one has no words.
      {"image_id", "text": answer as above, or "objects": list of {"label": word, and "box": (ymin,
      xmin, ymax, xmax) in 0..1 or "polygon": [(x, y), ...] in pixels}}.
    images: list of {"id", "height", "width": pixels, "words": list of {"polygon": [(x, y), ...] in
      pixels, "text", "legible": default True}}. All of them are evaluated.

  Returns:
    {"precision", "recall", "f1": of words found and read; "detection_precision",
     "detection_recall", "detection_f1": of words found; "tightness": mean IoU of the words read,
     "pq": tightness x f1; all 0..1; "predicted", "truth", "found", "read": counts after what
     nobody can read is left out}. As there, precision without predictions, recall without words
    and tightness without matches are 1.

  Raises:
    ValueError: for no images, ids that repeat or are unknown, a polygon of fewer than 3 points or
      with a number that is not finite.
  """
  by_id = ids.unique(images, "images")
  given = ids.by_image(predictions, by_id)
  counts, tightness = np.zeros(4, int), 0.
  for image_id, image in by_id.items():
    words = predicted_words(given[image_id], image) if image_id in given else []
    predicted, truth, pairs = match_words(words, image["words"])
    read = [iou for t, p, iou in pairs if truth[t]["text"] == predicted[p]["text"]]
    counts += len(predicted), len(truth), len(pairs), len(read)
    tightness += sum(read)
  predicted, truth, found, read = map(int, counts)
  tightness = tightness / read if read else 1.
  precision, recall, f1 = _f1(read, predicted, truth)
  found_precision, found_recall, found_f1 = _f1(found, predicted, truth)
  return {"precision": precision, "recall": recall, "f1": f1,
          "detection_precision": found_precision, "detection_recall": found_recall,
          "detection_f1": found_f1, "tightness": tightness, "pq": tightness * f1,
          "predicted": predicted, "truth": truth, "found": found, "read": read}


def predicted_words(prediction, image):
  """[{"polygon": float [N, 2] in pixels, "text"}] of one prediction, as `word_scores` takes it."""
  if ("text" in prediction) == ("objects" in prediction):
    raise ValueError(f"Prediction for image {image['id']!r} needs 'text' or 'objects', one of "
                     f"them; it has {sorted(prediction)}.")
  if "text" in prediction:
    objects = [{"box": o.box, "label": o.label}
               for o in locations.parse_objects(prediction["text"])]
  else:
    objects = prediction["objects"]
  size = np.array([image["width"], image["height"]])
  return [{"text": o["label"], "polygon": o["polygon"] if "polygon" in o
           else polygons.box_polygon(o["box"]) * size} for o in objects]


def match_words(predicted, truth):
  """Matches the words of one image.

  Args:
    predicted, truth: lists of {"polygon", "text"}, a true word with "legible" besides.

  Returns:
    (predicted words that count, true words that count, [(index of the latter, index of the former,
    IoU)])
  """
  predicted = [{**word, "polygon": _polygon(word)} for word in predicted]
  truth = [{**word, "polygon": _polygon(word)} for word in truth]
  ignored = [word for word in truth if not word.get("legible", True)]
  truth = [word for word in truth if word.get("legible", True)]
  if ignored and predicted:
    shared, areas, _ = _areas(predicted, ignored)
    inside = (shared / (areas[:, None] + EPSILON)).max(axis=1)
    predicted = [w for w, part in zip(predicted, inside, strict=True) if part < IGNORED_FRACTION]
  if not predicted or not truth:
    return predicted, truth, []
  shared, true_areas, areas = _areas(truth, predicted)
  ious = shared / (true_areas[:, None] + areas - shared + EPSILON)
  best, best_truth = ious.argmax(axis=1), ious.argmax(axis=0)
  pairs = [(t, int(p), float(ious[t, p])) for t, p in enumerate(best)
           if best_truth[p] == t and ious[t, p] >= IOU]
  return predicted, truth, pairs


def _polygon(word):
  return polygons.corners(word["polygon"], f"The polygon of the word {word['text']!r}")


def _areas(words, others):
  """Areas of intersections [N, M], of the words [N] and of the others [M]; none below EPSILON."""
  areas, other_areas = (np.array([polygons.area(w["polygon"]) for w in ws])
                        for ws in (words, others))
  shared = np.array([[polygons.intersection_area(a["polygon"], b["polygon"]) for b in others]
                     for a in words])
  shared[areas < EPSILON] = 0
  shared[:, other_areas < EPSILON] = 0
  return shared, areas, other_areas


def _f1(matched, predicted, truth):
  precision = matched / predicted if predicted else 1.
  recall = matched / truth if truth else 1.
  total = precision + recall
  return precision, recall, 2 * precision * recall / total if total else 0.
