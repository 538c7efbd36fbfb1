"""Options: which one an answer names, the nearest one, A-OKVQA's figures, MMVP's pairs."""
import json
import pathlib

import pytest

from evaluators.metrics import choices, groups

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden/answers.json").read_text())["aokvqa"]


@pytest.mark.parametrize("prediction, index", [
    ("Open", 0), ("open.", 0), (" Closed\n", 1),
    ("(a)", 0), ("(b) Closed", 1), ("b", 1), ("B.", 1), ("b)", 1), ("a. Open", 0),
    ("(a) Closed", None),  # letter and text disagree
    ("(c)", None), ("ajar", None), ("", None), ("open or closed", None), ("aopen", None),
    ("The answer is (a)", None),
])
def test_named_choice(prediction, index):
  assert choices.named_choice(prediction, ["Open", "Closed"]) == index


def test_an_option_that_is_a_letter_goes_by_its_text():
  assert choices.named_choice("a", ["b", "a"]) == 1
  assert choices.named_choice("(a)", ["b", "a"]) == 0


def test_two_options_alike_are_told_apart_by_letter_only():
  assert choices.named_choice("red", ["red", "Red", "blue"]) is None
  assert choices.named_choice("(b)", ["red", "Red", "blue"]) == 1


def test_mmvp_counts_pairs():
  options, said, right = ["Open", "Closed"], ["Open", "open", "(a) Open", "(b)"], "(a) (b) (a) (b)"
  scores = [choices.mmvp_accuracy(s, r, options) for s, r in zip(said, right.split())]
  assert scores == [1, 0, 1, 1]
  assert groups.all_correct(scores, [1, 1, 2, 2]) == 0.5


def test_a_label_without_an_option_is_an_error():
  with pytest.raises(ValueError, match=r"answer '\(c\)' is none of the choices"):
    choices.mmvp_accuracy("Open", "(c)", ["Open", "Closed"])
  with pytest.raises(TypeError, match="give a list"):
    choices.named_choice("a", "Open")


@pytest.mark.parametrize("prediction, index", [
    ("umbrela", 1), ("UMBRELLA", 1), ("rain", 2), ("zzz", 0), ("", 0), ("the train", 2)])
def test_nearest_choice(prediction, index):
  assert choices.nearest_choice(prediction, ["cat", "umbrella", "train"]) == index


def test_nearest_by_another_distance():
  assert choices.nearest_choice("cat", ["c", "horse"], lambda a, b: -len(b)) == 1
  with pytest.raises(ValueError, match="No answers"):
    choices.nearest_choice("cat", [])


def test_aokvqa_equals_the_official_script():
  assert len(GOLDEN) >= 50
  for predictions, options, correct, answers, difficult, mc, da in GOLDEN:
    assert choices.aokvqa_mc(predictions, options, correct)["accuracy"] == pytest.approx(mc)
    got = choices.aokvqa_da(predictions, answers, difficult)
    assert got["official_accuracy"] == pytest.approx(da)


def test_aokvqa_by_hand():
  got = choices.aokvqa_mc(["cat", "Dog", "dgo"], [["cat", "dog"]] * 3, [0, 1, 1])
  assert got == pytest.approx({"accuracy": 1 / 3, "nearest_accuracy": 1, "valid": 1 / 3})
  got = choices.aokvqa_da(["cat", "dog"], [["cat"] * 3, ["cat"] * 10], [False, True])
  assert got == {"accuracy": 0.5, "official_accuracy": 1}
  assert choices.aokvqa_da(["cat"], [["cat"] * 3], [True]) == {"accuracy": 1}


@pytest.mark.parametrize("call, match", [
    (lambda: choices.aokvqa_mc(["a"], [["a"]], [-1]), "number -1 of 1: out of range"),
    (lambda: choices.aokvqa_mc(["a", "b"], [["a"]], [0]), "2 predictions, 1 choices, 1 correct"),
    (lambda: choices.aokvqa_mc([], [], []), "empty"),
    (lambda: choices.aokvqa_da(["a"], [[]], [False]), "No answers"),
    (lambda: choices.aokvqa_da(["a"], [["a"]], []), "0 difficult"),
])
def test_bad_input(call, match):
  with pytest.raises(ValueError, match=match):
    call()
