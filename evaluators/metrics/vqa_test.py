"""VQA accuracy: the table of match counts, the ceiling below three answers, bad input."""
import pytest

from evaluators.metrics import vqa


@pytest.mark.parametrize("matches, score", [(0, 0), (1, 1 / 3), (2, 2 / 3), (3, 1), (10, 1)])
def test_three_annotators_make_a_full_score(matches, score):
  answers = ["red"] * matches + ["blue"] * (10 - matches)
  assert vqa.vqa_accuracy("red", answers) == pytest.approx(score)
  assert vqa.any_match("red", answers) == float(matches > 0)


@pytest.mark.parametrize("prediction", ["Red", "red ", "red.", ""])
def test_answers_are_compared_as_they_are(prediction):
  assert vqa.vqa_accuracy(prediction, ["red"] * 10) == 0
  assert vqa.any_match(prediction, ["red"] * 10) == 0


def test_fewer_than_three_answers_cap_the_soft_score():
  assert vqa.vqa_accuracy("red", ["red"]) == pytest.approx(1 / 3)
  assert vqa.vqa_accuracy("red", ["red", "red"]) == pytest.approx(2 / 3)
  assert vqa.any_match("red", ["red"]) == 1


@pytest.mark.parametrize("metric", [vqa.vqa_accuracy, vqa.any_match])
def test_bad_answers(metric):
  with pytest.raises(TypeError, match="'red'; give a list"):
    metric("r", "red")
  with pytest.raises(ValueError, match="No answers"):
    metric("red", [])
