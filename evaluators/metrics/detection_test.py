"""COCO mAP: against pycocotools called by hand, on drawn cases, and on bad input."""
import contextlib
import io

import numpy as np
import pytest
from pycocotools import coco, cocoeval

from evaluators.metrics import detection

IMAGES = [{"id": 10, "height": 100, "width": 200}, {"id": 20, "height": 50, "width": 50}]
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 90, "name": "traffic light"}]
ANNOTATIONS = [{"image_id": 10, "category_id": 3, "bbox": [20, 10, 100, 80]},
               {"image_id": 20, "category_id": 90, "bbox": [5, 5, 40, 40]}]
PERFECT = [
    {"image_id": 10, "objects": [{"box": (.1, .1, .9, .6), "label": "cat"}]},
    {"image_id": 20, "objects": [{"box": (.1, .1, .9, .9), "label": "traffic light"}]},
]


def score(predictions, annotations=ANNOTATIONS, images=IMAGES, categories=CATEGORIES):
  return detection.coco_map(predictions, images, annotations, categories)


def test_perfect_predictions():
  got = score(PERFECT)
  assert (got["AP"], got["AP50"], got["AP75"], got["AR100"]) == pytest.approx((1, 1, 1, 1))
  assert got["APs"] == -1  # COCO's mark for: no annotation below 32 x 32 pixels
  assert (got["detections"], got["unknown_labels"]) == (2, 0)


def test_nothing_is_printed(capsys):
  score(PERFECT)
  assert capsys.readouterr().out == ""


@pytest.mark.parametrize("predictions", [
    [],
    [{"image_id": 10, "text": ""}],
    [{"image_id": 10, "objects": [], "scores": []}, {"image_id": 20, "text": "no objects"}],
])
def test_no_detections_score_zero(predictions):
  got = score(predictions)
  assert (got["AP"], got["AP50"], got["AR100"], got["detections"]) == (0, 0, 0, 0)


def test_text_form():
  # 102 / 1023 = .0997, 921 / 1023 = .9003, 614 / 1023 = .6002
  text = "<loc0102><loc0102><loc0921><loc0614> cat ; <loc0000><loc0000><loc0100><loc0100> unicorn"
  light = "<loc0102><loc0102><loc0921><loc0921> traffic light"
  got = score([{"image_id": 10, "text": text}, {"image_id": 20, "text": light}])
  assert (got["AP"], got["unknown_labels"], got["detections"]) == (pytest.approx(1), 1, 2)


def test_other_denominator():
  """Read with 1024 the right edge is at 99.9 pixels of 100: IoU .998, still a match at .95."""
  predictions = [{"image_id": 10, "text": "<loc0000><loc0000><loc1023><loc1023> cat"}]
  images = [{"id": 10, "height": 100, "width": 100}]
  for denominator, ap in ((1023, 1), (1024, 1), (2046, 0)):
    got = detection.coco_map(predictions, images, [
        {"image_id": 10, "category_id": 3, "bbox": [0, 0, 100, 100]}], CATEGORIES, denominator)
    assert got["AP"] == pytest.approx(ap)


def test_one_image_with_line_separators_in_its_text():
  text = "<loc0102><loc0102><loc0921><loc0614>\u2028cat\u2028;\n<loc0000>\u2028"
  got = score([{"image_id": 10, "text": text}], ANNOTATIONS[:1], IMAGES[:1])
  assert (got["AP"], got["detections"]) == (pytest.approx(1), 1)


def test_y_comes_before_x():
  swapped = [{"image_id": 10, "objects": [{"box": (.1, .1, .6, .9), "label": "cat"}]}]
  assert score(swapped)["AP50"] == 0


def test_confident_false_positive_costs_and_a_doubtful_one_does_not():
  right, wrong = (.1, .1, .9, .6), (.5, .7, .6, .9)
  def ap(right_score, wrong_score):
    got = score([{"image_id": 10, "scores": [right_score, wrong_score],
                  "objects": [{"box": b, "label": "cat"} for b in (right, wrong)]}],
                ANNOTATIONS[:1])
    return got["AP"]
  assert ap(.9, .1) == pytest.approx(1)
  assert ap(.1, .9) == pytest.approx(.5)


def test_inverted_box_is_a_false_positive():
  boxes = [(.9, .6, .1, .1), (.1, .1, .9, .6)]
  got = score([{"image_id": 10, "scores": [.9, .8],
                "objects": [{"box": b, "label": "cat"} for b in boxes]}], ANNOTATIONS[:1])
  assert got["AP"] == pytest.approx(.5)


def random_set(seed):
  """A set with three classes, crowds, misses, false positives and shifted boxes."""
  rng = np.random.default_rng(seed)
  categories = [{"id": i, "name": n} for i, n in ((1, "cat"), (17, "dog"), (90, "bus"))]
  images = [{"id": int(i), "height": int(rng.integers(80, 300)),
             "width": int(rng.integers(80, 300))} for i in rng.permutation(40)[:15] + 1]
  annotations, predictions = [], []
  for image in images:
    objects, scores = [], []
    frame = np.array([image["width"], image["height"]])
    for _ in range(rng.integers(1, 8)):
      corner, size = rng.random(2) * .6 * frame, (.05 + .35 * rng.random(2)) * frame
      category = categories[rng.integers(3)]
      annotations.append({
          "id": len(annotations) + 1, "image_id": image["id"], "category_id": category["id"],
          "bbox": [*map(float, corner), *map(float, size)], "area": float(np.prod(size)),
          "iscrowd": int(rng.random() < .1)})
      for _ in range(rng.integers(0, 3)):
        x, y = (corner + rng.normal(0, .1, 2) * size) / frame
        w, h = size / frame
        label = category["name"] if rng.random() < .8 else "dog"
        objects.append({"box": (y, x, y + h, x + w), "label": label})
        scores.append(float(rng.random()))
    predictions.append({"image_id": image["id"], "objects": objects, "scores": scores})
  return predictions, images, annotations, categories


@pytest.mark.parametrize("seed", range(3))
def test_equals_pycocotools_called_by_hand(seed):
  predictions, images, annotations, categories = random_set(seed)
  frames = {i["id"]: (i["height"], i["width"]) for i in images}
  ids = {c["name"]: c["id"] for c in categories}
  results = []
  for prediction in predictions:
    h, w = frames[prediction["image_id"]]
    for o, s in zip(prediction["objects"], prediction["scores"], strict=True):
      y0, x0, y1, x1 = o["box"]
      results.append({"image_id": prediction["image_id"], "category_id": ids[o["label"]],
                      "bbox": [x0 * w, y0 * h, (x1 - x0) * w, (y1 - y0) * h], "score": s})
  with contextlib.redirect_stdout(io.StringIO()):
    truth = coco.COCO()
    truth.dataset = {"images": images, "annotations": annotations, "categories": categories}
    truth.createIndex()
    by_hand = cocoeval.COCOeval(truth, truth.loadRes(results), "bbox")
    by_hand.evaluate()
    by_hand.accumulate()
    by_hand.summarize()
  got = detection.coco_map(predictions, images, annotations, categories)
  assert .1 < got["AP"] < .9
  np.testing.assert_allclose([got[name] for name in detection.STATS], by_hand.stats, atol=1e-12)


def test_annotation_ids_and_image_ids_do_not_matter():
  """pycocotools called by hand never matches an annotation with id 0."""
  predictions, images, annotations, categories = random_set(0)
  plain = detection.coco_map(predictions, images, annotations, categories)
  def rename(rows, key):
    return [{**row, key: f"img-{row[key]}"} for row in rows]
  renamed = detection.coco_map(
      rename(predictions, "image_id"), rename(images, "id"),
      [{**a, "id": 0} for a in rename(annotations, "image_id")], categories)
  assert renamed == pytest.approx(plain)


OBJECT = {"box": (.1, .1, .9, .6), "label": "cat"}


@pytest.mark.parametrize("prediction, named", [
    ({"image_id": 11, "text": ""}, r"image 11, which is not among the 2 images, e.g. \[10, 20\]"),
    ({"image_id": "10", "text": ""}, "An id 1 is not an id '1'"),
    ({"image_id": 10, "objects": [OBJECT], "scores": [float("nan")]}, "hold a NaN"),
    ({"image_id": 10, "objects": [OBJECT], "scores": [float("inf")]}, "an infinity"),
    ({"image_id": 10, "objects": [OBJECT], "scores": [.5, .5]}, "2 scores for 1 objects"),
    ({"image_id": 10, "objects": [{"box": (0, 0, float("nan"), 1), "label": "cat"}]},
     "the box of 'cat' is four finite numbers"),
    ({"image_id": 10, "objects": [{**OBJECT, "label": None}]}, "is no text"),
    ({"image_id": 10, "objects": [], "text": ""}, "one of them"),
    ({"image_id": 10}, "needs 'text' or 'objects'"),
])
def test_bad_predictions(prediction, named):
  with pytest.raises(ValueError, match=named):
    score([prediction])


@pytest.mark.parametrize("change, named", [
    (dict(predictions=PERFECT + PERFECT[:1]), "Two predictions for image 10"),
    (dict(annotations=[]), "No annotations"),
    (dict(images=[]), "No images"),
    (dict(categories=[]), "No categories"),
    (dict(images=IMAGES + IMAGES[:1]), r"more than once in images, e.g. \[10\]"),
    (dict(categories=CATEGORIES + [{"id": 4, "name": "cat"}]), "the same name"),
    (dict(annotations=[{**ANNOTATIONS[0], "image_id": 5}]), "Annotation 0 has image_id 5"),
    (dict(annotations=[{**ANNOTATIONS[0], "category_id": 1}]), "category_id 1"),
    (dict(annotations=[{**ANNOTATIONS[0], "bbox": [1, 2, float("nan"), 3]}]), "finite numbers, x"),
    (dict(annotations=[{**ANNOTATIONS[0], "bbox": [1, 2, -1, 3]}]), "a negative width"),
])
def test_sets_that_do_not_fit_together(change, named):
  with pytest.raises(ValueError, match=named):
    score(**{"predictions": PERFECT, **change})
