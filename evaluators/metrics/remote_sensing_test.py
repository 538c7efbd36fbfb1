"""RSVQA: accuracy by type, the three means of it, and bad input."""
import pytest

from evaluators.metrics import remote_sensing


@pytest.mark.parametrize("prediction, answers, score", [
    ("Yes", ["yes"], 1), ("yes", ["no"], 0), ("rural", ["urban", "Rural"], 1), ("yes ", ["yes"], 0),
])
def test_case_is_ignored_space_is_not(prediction, answers, score):
  assert remote_sensing.rsvqa_accuracy(prediction, answers) == score


def test_three_means():
  scores = [1, 1, 1, 0, 1, 0, 0]
  types = ["comp", "comp", "comp", "comp", "presence", "rural_urban", "count"]
  got = remote_sensing.rsvqa(scores, types)
  assert got == pytest.approx({
      "accuracy": (3 / 4 + 1 + 0) / 3, "accuracy/comp": 3 / 4, "accuracy/presence": 1,
      "accuracy/rural_urban": 0, "accuracy/count": 0, "overall_accuracy": 4 / 7,
      "average_accuracy": (3 / 4 + 1 + 0 + 0) / 4})


def test_one_question():
  assert remote_sensing.rsvqa([1], ["presence"])["accuracy"] == 1


@pytest.mark.parametrize("scores, types, match", [
    ([1], ["presense"], "Did you mean 'presence'"),
    ([1, 0], ["count", "area"], "answers are numbers"),
    ([1, 0], ["comp"], "2 scores but 1 groups"),
    ([], [], "empty"),
    ([float("nan")], ["comp"], "NaN"),
])
def test_bad_input(scores, types, match):
  with pytest.raises(ValueError, match=match):
    remote_sensing.rsvqa(scores, types)


def test_bad_answers():
  with pytest.raises(TypeError, match="give a list"):
    remote_sensing.rsvqa_accuracy("yes", "yes")
  with pytest.raises(ValueError, match="No answers"):
    remote_sensing.rsvqa_accuracy("yes", [])
  with pytest.raises(TypeError, match="one is None"):
    remote_sensing.rsvqa_accuracy(None, ["yes"])
