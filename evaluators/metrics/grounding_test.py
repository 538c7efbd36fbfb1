"""Box accuracy of referring expressions, from answers and from boxes."""
import pytest

from evaluators.metrics import grounding

ANSWER = "<loc0000><loc0000><loc1023><loc0512> cat ; <loc0000><loc0000><loc0001><loc0001> dog"


@pytest.mark.parametrize("a, b, iou", [
    ((0, 0, 1, 1), (0, 0, 1, 1), 1), ((0, 0, 1, 1), (0, 0, 1, .5), .5),
    ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7), ((0, 0, 1, 1), (2, 2, 3, 3), 0),
    ((1, 1, 0, 0), (0, 0, 1, 1), 0), ((0, 0, 0, 0), (0, 0, 0, 0), 0),
])
def test_box_iou(a, b, iou):
  assert grounding.box_iou(a, b) == grounding.box_iou(b, a) == pytest.approx(iou)


def test_box_accuracy():
  scores, ious = grounding.box_accuracy(
      {"first": ANSWER, "box": (0, 0, 1, .8), "none": "no cat"},
      {"first": (0, 0, 1, 1), "box": (0, 0, 1, 1), "none": (0, 0, 1, 1)})
  assert ious == pytest.approx({"first": 512 / 1023, "box": .8, "none": 0})
  assert scores == {"boxacc/0.5": pytest.approx(2 / 3), "boxacc/0.75": pytest.approx(1 / 3),
                    "mean_iou": pytest.approx((512 / 1023 + .8) / 3), "invalid": 1, "total": 3}


@pytest.mark.parametrize("predictions, truths, named", [
    ({}, {1: (0, 0, 1, 1)}, "1 of 1 ids have no prediction"),
    ({"1": ""}, {1: (0, 0, 1, 1)}, "An id 1 is not an id '1'"),
    ({1: ""}, {1: (0, 0, 1)}, "1: a box is four finite numbers"),
    ({1: (0, 0, 1, float("nan"))}, {1: (0, 0, 1, 1)}, "finite"),
    ({}, {}, "the set is empty"),
])
def test_bad_input(predictions, truths, named):
  with pytest.raises(ValueError, match=named):
    grounding.box_accuracy(predictions, truths)
