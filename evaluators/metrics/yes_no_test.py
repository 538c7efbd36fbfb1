"""POPE: how answers are read by both rules, the figures, the three sets, bad input."""
import json
import pathlib

import pytest

from evaluators.metrics import yes_no

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden/answers.json").read_text())["pope"]


@pytest.mark.parametrize("prediction, right_if_yes, right_if_no, official", [
    ("yes", 1, 0, "yes"), ("Yes", 1, 0, "yes"), ("no", 0, 1, "no"), ("No", 0, 1, "no"),
    ("NO", 0, 1, "yes"),                 # the script knows no and No only
    ("yes.", 0, 0, "yes"), ("no.", 0, 0, "no"), ("no, there is none", 0, 0, "no"),
    ("nope", 0, 0, "yes"), ("", 0, 0, "yes"), ("There is not", 0, 0, "no"),
    ("Yes. No, wait", 0, 0, "yes"), ("no\u2028", 0, 0, "yes"), (" no", 0, 0, "no"),
])
def test_readings(prediction, right_if_yes, right_if_no, official):
  assert yes_no.yes_no_accuracy(prediction, "yes") == right_if_yes
  assert yes_no.yes_no_accuracy(prediction, "no") == right_if_no
  assert yes_no.official_reading(prediction) == official


def test_figures_equal_the_official_script():
  assert len(GOLDEN) >= 50
  for predictions, targets, *figures in GOLDEN:
    got = yes_no.pope(predictions, targets)
    names = ("accuracy", "precision", "recall", "f1", "yes_ratio")
    assert [got[f"official_{n}"] for n in names] == pytest.approx(figures, abs=1e-9)


def test_figures_by_hand():
  got = yes_no.pope(["Yes", "yes", "yes, it is", "no"], ["yes", "no", "yes", "no"])
  assert got == pytest.approx({
      "accuracy": 1 / 2, "precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "yes_ratio": 1 / 2,
      "valid": 3 / 4, "official_accuracy": 3 / 4, "official_precision": 2 / 3,
      "official_recall": 1, "official_f1": 0.8, "official_yes_ratio": 3 / 4})


def test_who_always_says_no_has_no_precision():
  got = yes_no.pope(["no", "no"], ["yes", "no"])
  assert (got["accuracy"], got["precision"], got["f1"], got["official_f1"]) == (0.5, 0, 0, 0)


@pytest.mark.parametrize("predictions, targets, match", [
    (["yes"], ["Yes"], "target is 'Yes'"),
    (["yes"], ["yes", "no"], "1 predictions, 2 targets"),
    ([], [], "empty"),
])
def test_bad_input(predictions, targets, match):
  with pytest.raises(ValueError, match=match):
    yes_no.pope(predictions, targets)


def test_a_bad_target():
  with pytest.raises(ValueError, match="target is 'maybe'"):
    yes_no.yes_no_accuracy("yes", "maybe")
