"""Boxes: their IoU, the fraction that reaches one."""
import pytest

from evaluators.metrics import grounding


@pytest.mark.parametrize("a, b, iou", [
    ((0, 0, 1, 1), (0, 0, 1, 1), 1), ((0, 0, 1, 1), (0, 0, 1, .5), .5),
    ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7), ((0, 0, 1, 1), (2, 2, 3, 3), 0),
    ((1, 1, 0, 0), (0, 0, 1, 1), 0), ((0, 0, 0, 0), (0, 0, 0, 0), 0),
])
def test_box_iou(a, b, iou):
  assert grounding.box_iou(a, b) == grounding.box_iou(b, a) == pytest.approx(iou)


def test_fractions_that_reach_an_iou():
  assert grounding.fractions_reaching([.5, .8, 0], (.5, .75)) == {
      "boxacc/0.5": pytest.approx(2 / 3), "boxacc/0.75": pytest.approx(1 / 3)}


@pytest.mark.parametrize("box", [(0, 0, 1), (0, 0, 1, float("nan")), None, "0001", [[0]] * 4])
def test_a_box_is_four_finite_numbers(box):
  with pytest.raises(ValueError, match="A box is four finite numbers, ymin"):
    grounding.box_iou(box, (0, 0, 1, 1))
