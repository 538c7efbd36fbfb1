"""Average precision of a choice of images, against pycocotools on those images themselves."""
import numpy as np
import pytest

from evaluators.metrics import detection, detection_matches
from evaluators.metrics.detection_matches import Matches

IMAGES = 12
CATEGORIES = [{"id": i, "name": name} for i, name in enumerate(("cat", "dog", "cow"))]


def scene(seed, skill=0.8):
  """(predictions, images, annotations): boxes, of which a part is found, moved a little."""
  rng = np.random.default_rng(seed)
  images = [{"id": i, "height": 100, "width": 100} for i in range(IMAGES)]
  annotations, predictions = [], []
  for i in range(IMAGES):
    objects = []
    for _ in range(rng.integers(4)):
      y, x, kind = *rng.integers(0, 60, 2), int(rng.integers(3))
      annotations.append({"image_id": i, "category_id": kind, "bbox": [int(x), int(y), 30, 30],
                          "iscrowd": int(rng.random() < 0.1)})
      y, x = (np.array([y, x]) + rng.integers(-8, 9, 2)) / 100
      label = CATEGORIES[kind if rng.random() < skill else 0]["name"]
      objects.append({"box": (y, x, y + .3, x + .3), "label": label})
    predictions.append({"image_id": i, "objects": objects,
                        "scores": rng.random(len(objects)).tolist()})
  return predictions, images, annotations


def matches(predictions, images, annotations):
  return Matches.of(detection.evaluate(predictions, images, annotations, CATEGORIES)[0])


def repeated(scene, counts):
  """The scene in which each image stands as often as it counts."""
  predictions, images, annotations = scene
  made = [], [], []
  for i, count in enumerate(counts):
    for n in range(int(count)):
      new = f"{i}-{n}"
      made[0].append({**predictions[i], "image_id": new})
      made[1].append({**images[i], "id": new})
      made[2].extend({**a, "image_id": new} for a in annotations if a["image_id"] == i)
  return made


@pytest.mark.parametrize("seed", range(4))
def test_an_image_that_counts_twice_is_one_that_stands_there_twice(seed):
  one = matches(*scene(seed))
  rng = np.random.default_rng(seed)
  for counts in (np.ones(IMAGES), np.bincount(rng.integers(IMAGES, size=IMAGES), minlength=IMAGES)):
    want = detection.coco_map(*repeated(scene(seed), counts), CATEGORIES)
    got = one.values(counts.astype(float))
    assert got == pytest.approx({name: want[name] for name in got}, abs=1e-9)


def test_the_images_of_two_models_side_by_side():
  first, second = matches(*scene(0)), matches(*scene(1))
  both, ones, none = first.beside(second), np.ones(IMAGES), np.zeros(IMAGES)
  assert both.values(np.concatenate([ones, none])) == first.values()
  assert both.values(np.concatenate([none, ones])) == second.values()
  assert np.isnan(both.values(np.zeros(2 * IMAGES))["AP"])


def test_an_interval_holds_the_value_and_grows_with_clusters(monkeypatch):
  monkeypatch.setattr(detection_matches, "RESAMPLES", 200)
  one = matches(*scene(2))
  low, high = detection_matches.interval(one, range(IMAGES))["AP"]
  assert low < one.values()["AP"] < high
  wide = detection_matches.interval(one, [i // 6 for i in range(IMAGES)])["AP"]
  assert wide[1] - wide[0] > 0


def test_two_models_are_told_apart_only_where_they_differ(monkeypatch):
  monkeypatch.setattr(detection_matches, "RESAMPLES", 200)
  good, same = matches(*scene(3, skill=1.)), matches(*scene(3, skill=1.))
  found = detection_matches.paired(same, good, range(IMAGES))
  assert found["AP"] == (0, 0, 0, 1)
  nothing = [{**p, "objects": [], "scores": []} for p in scene(3)[0]]
  gain, low, high, p = detection_matches.paired(
      matches(nothing, *scene(3)[1:]), good, range(IMAGES))["AP50"]
  assert gain == good.values()["AP50"] > 0.3 and 0 < low < gain < high and p < 0.02
