"""NLVR2, MaRVL, VSR: accuracy with and without case, consistency, identifiers."""
import json
import pathlib

import pytest

from evaluators.metrics import true_false

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden/answers.json").read_text())["nlvr2"]


def test_equals_the_official_script():
  assert len(GOLDEN) >= 50
  for predictions, targets, identifiers, accuracy, consistency in GOLDEN:
    sentences = [true_false.nlvr2_sentence(i) for i in identifiers]
    got = true_false.true_false(predictions, targets, sentences)
    assert got["accuracy_ignoring_case"] == pytest.approx(accuracy)
    assert got["consistency"] == pytest.approx(consistency)


def test_by_hand():
  said, right = ["True", "false", "True", "maybe"], ["True", "False", "False", "True"]
  got = true_false.true_false(said, right, ["s1", "s1", "s2", "s3"])
  assert got == pytest.approx(
      {"accuracy": 1 / 4, "accuracy_ignoring_case": 2 / 4, "consistency": 1 / 3})
  assert true_false.true_false(["True"], ["True"]) == {"accuracy": 1, "accuracy_ignoring_case": 1}


def test_sentences():
  name = true_false.nlvr2_sentence
  assert name("test1-0-1-0") == name("test1-0-3-0") == "test1-0--0"
  assert name("test1-0-1-0") != name("test1-0-1-1")
  with pytest.raises(ValueError, match="'dev-1' is not an identifier"):
    name("dev-1")


@pytest.mark.parametrize("predictions, targets, sentences, match", [
    (["True"], [], None, "1 predictions, 0 targets"),
    ([], [], None, "empty"),
    (["True"], ["True"], ["a", "b"], "1 scores but 2 groups"),
])
def test_bad_input(predictions, targets, sentences, match):
  with pytest.raises(ValueError, match=match):
    true_false.true_false(predictions, targets, sentences)
  with pytest.raises(TypeError, match="target is True"):
    true_false.true_false(["True"], [True])
