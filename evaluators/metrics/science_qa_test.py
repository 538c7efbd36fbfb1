"""ScienceQA: which answers parse, and what is counted."""
import pytest

from evaluators.metrics import science_qa


@pytest.mark.parametrize("text, letter", [
    ("The answer is b.", "b"),
    ("the answer is B. Because iron is a metal.", "b"),
    ("The answer is b", None),            # no point
    ("The answer is (b).", None),
    ("So the answer is b.", None),        # not at the start
    (" The answer is b.", None),
    ("b", None), ("", None), ("The answer is 2.", None), ("The answer is bc.", None),
    ("The answer is a.\u2028The answer is b.", "a"),
])
def test_letter(text, letter):
  assert science_qa.letter(text) == letter


def test_report():
  right, other = "The answer is a.", "The answer is b."
  got = science_qa.science_qa([right, other, "a", right], [right] * 4)
  assert got == {"accuracy": 0.5, "parse_failures": 0.25}


@pytest.mark.parametrize("predictions, targets, match", [
    (["a"], ["a"], "target 'a' is not of the form"),  # two failures are not a right answer
    ([], [], "empty"),
    (["a", "b"], ["The answer is a."], "2 predictions, 1 targets"),
])
def test_bad_input(predictions, targets, match):
  with pytest.raises(ValueError, match=match):
    science_qa.science_qa(predictions, targets)
