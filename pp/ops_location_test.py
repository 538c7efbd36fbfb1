import numpy as np
import pytest

from pp.builder import get_preprocess_fn
from pp.locations import parse_objects

EXAMPLE = {
    "objects/bbox": np.array([[.5, .5, 1, 1], [0, .5, .5, 1], [0, 0, .5, .5]], np.float32),
    "objects/label": np.array([7, 3, 7]),
}


def run(pp, example, seed=None):
  rng = {} if seed is None else {"_rng": np.random.default_rng(seed)}
  result = get_preprocess_fn(pp)({**example, **rng})
  return result["prefix"], result["suffix"]


def test_detect():
  prefix, suffix = run("detect", EXAMPLE)
  assert prefix == "detect 7 ; 3"
  assert suffix == ("<loc0512><loc0512><loc1023><loc1023> 7 ; "
                    "<loc0000><loc0512><loc0512><loc1023> 3 ; "
                    "<loc0000><loc0000><loc0512><loc0512> 7")


@pytest.mark.parametrize("labels", [["a cat", "dog", "a cat"], [b"a cat", b"dog", b"a cat"],
                                    np.array([b"a cat", b"dog", b"a cat"], object)])
def test_labels_may_be_strings_or_bytes(labels):
  prefix, suffix = run("detect(labels='names')", {**EXAMPLE, "names": labels})
  assert prefix == "detect a cat ; dog"
  assert [o.label for o in parse_objects(suffix)] == ["a cat", "dog", "a cat"]


def corners(suffix):
  return [(round(2 * o.box[0]) / 2, round(2 * o.box[1]) / 2) for o in parse_objects(suffix)]


def test_raster_order_is_from_the_top_then_from_the_left():
  prefix, suffix = run("detect(order='raster')", EXAMPLE)
  assert corners(suffix) == [(0, 0), (0, .5), (.5, .5)]
  assert prefix == "detect 7 ; 3"  # the question does not give the order away


def test_random_order_reaches_every_order():
  got = {tuple(corners(run("detect(order='random')", EXAMPLE, seed)[1])) for seed in range(60)}
  assert len(got) == 6


def test_subset_asks_for_some_labels_and_answers_them_only():
  got = {run("detect(subset=True)", EXAMPLE, seed)[0] for seed in range(40)}
  assert got == {"detect 7", "detect 3", "detect 7 ; 3"}
  for seed in range(10):
    prefix, suffix = run("detect(subset=True, order='random')", EXAMPLE, seed)
    asked = prefix.removeprefix("detect ").split(" ; ")
    labels = [o.label for o in parse_objects(suffix)]
    assert sorted(labels) == sorted(x for x in ("7", "3", "7") if x in asked)


@pytest.mark.parametrize("pp", ["detect", "detect(order='raster')", "detect(subset=True)"])
def test_no_objects(pp):
  for boxes in (np.zeros((0, 4)), []):
    assert run(pp, {"objects/bbox": boxes, "objects/label": []}, 0) == ("detect", "")


@pytest.mark.parametrize("pp, example, complaint", [
    ("detect(order='size')", {}, "order='size' is not one of given, raster, random"),
    ("detect(order='random')", EXAMPLE, "must not be random"),
    ("detect(subset=True)", EXAMPLE, "must not be random"),
    ("detect", {**EXAMPLE, "objects/label": [1]}, "has 3 boxes, 'objects/label' 1 labels"),
    ("detect", {"objects": {}}, "Put `flatten` before it"),
])
def test_errors(pp, example, complaint):
  with pytest.raises(ValueError, match=complaint):
    run(pp, example)
