"""Text metrics: golden scores of the codes in use, tables of awkward pairs, bad input."""
import json
import pathlib

import pytest

from evaluators.metrics import text

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden/text.json").read_text())


@pytest.mark.parametrize("prediction, target, score", [
    ("cat", "cat", 1.0),
    ("", "", 1.0),
    ("cat", "dog", 0.0),
    ("", "cat", 0.0),
    ("Cat", "cat", 0.0),                # case counts
    ("cat ", "cat", 0.0),               # so does a space
    ("cat", "a cat on a mat", 0.0),     # no substring matches
    ("caf\u00e9", "cafe\u0301", 0.0),   # composed against decomposed
    ("a\u2028b", "a\nb", 0.0),          # one kind of line break is not another
])
def test_exact_match(prediction, target, score):
  got = text.exact_match(prediction, target)
  assert got == score and isinstance(got, float)


@pytest.mark.parametrize("prediction, target, score", [
    ("Cat", "cat", 1), ("cat ", "cat", 0), ("\u00c9", "\u00e9", 1), ("", "", 1)])
def test_exact_match_ignoring_case(prediction, target, score):
  assert text.exact_match_ignoring_case(prediction, target) == score


@pytest.mark.parametrize("metric", [
    text.exact_match, text.exact_match_ignoring_case, text.relaxed_accuracy,
    text.relaxed_accuracy_without_units, text.relaxed_accuracy_exact_years])
@pytest.mark.parametrize("prediction, target, named", [
    (2, "2", "prediction is 2"), ("2", ["2"], "target is"), (b"cat", "cat", "bytes"),
    (float("nan"), "cat", "nan"),
])
def test_only_strings_are_compared(metric, prediction, target, named):
  with pytest.raises(TypeError, match=named):
    metric(prediction, target)


def test_anls_equals_big_visions_and_the_challenges():
  assert len(GOLDEN["anls"]) >= 500
  for prediction, answers, ours, server in GOLDEN["anls"]:
    assert text.anls(prediction, answers) == pytest.approx(ours, abs=1e-9), (prediction, answers)
    assert text.anls_server(prediction, answers) == pytest.approx(server, abs=1e-9)


@pytest.mark.parametrize("prediction, answers, ours, server", [
    ("ab", ["abc"], 2 / 3, 2 / 3),
    ("ab", ["ad"], 0, 0.5),                   # .5 is out by the paper, in by the script
    ("ab", ["xy", "abc", "a"], 2 / 3, 2 / 3),  # the best answer counts
    ("AB", ["ab"], 1, 1),
    ("total  sales", ["Total sales "], 1 - 2 / 12, 1),  # only the script forgives spaces
    ("", [""], 1, 1), ("x", [""], 0, 0), ("", ["x"], 0, 0),
])
def test_anls(prediction, answers, ours, server):
  assert text.anls(prediction, answers) == pytest.approx(ours)
  assert text.anls_server(prediction, answers) == pytest.approx(server)


def test_anls_threshold():
  assert text.anls("abcd", ["abxy"], threshold=0.6) == 0.5
  assert text.anls_server("abcd", ["abcx"], threshold=0.8) == 0


@pytest.mark.parametrize("metric", [text.anls, text.anls_server])
def test_bad_answers(metric):
  with pytest.raises(TypeError, match="'red'; give a list"):
    metric("r", "red")
  with pytest.raises(ValueError, match="No answers to compare 'red'"):
    metric("red", [])
  with pytest.raises(TypeError, match="one is None"):
    metric("red", [None])
  with pytest.raises(TypeError, match="one is nan"):
    metric(float("nan"), ["red"])


def test_relaxed_accuracy_equals_pix2structs_and_big_visions():
  assert len(GOLDEN["relaxed"]) >= 500
  for prediction, target, score in GOLDEN["relaxed"]:
    assert text.relaxed_accuracy(prediction, target) == score, (prediction, target)


@pytest.mark.parametrize("prediction, target, relaxed, without_units, exact_years", [
    ("10.4", "10", 1, 1, 1),
    ("10.6", "10", 0, 0, 0),
    ("-10", "10", 0, 0, 0),
    ("10", "ten", 0, 0, 0),
    ("", "10", 0, 0, 0),
    ("yes", "Yes", 1, 1, 1),
    ("0", "0.0", 0, 0, 0),            # a target of 0 must be spelled alike
    ("12%", "0.12", 1, 0, 1),
    ("12%", "12", 0, 1, 0),
    ("1,000", "1000", 0, 1, 0),
    ("$1,020", "1,000", 0, 1, 0),
    ("1,23", "123", 0, 0, 0),         # no comma of thousands
    ("2019", "2000", 1, 1, 0),
    ("2019", "2019", 1, 1, 1),
    ("2019.0", "2019", 1, 1, 0),
    ("2000", "2101", 1, 1, 1),        # no year
    ("inf", "inf", 0, 0, 0),
])
def test_relaxed_accuracy_and_its_traps(prediction, target, relaxed, without_units, exact_years):
  assert text.relaxed_accuracy(prediction, target) == relaxed
  assert text.relaxed_accuracy_without_units(prediction, target) == without_units
  assert text.relaxed_accuracy_exact_years(prediction, target) == exact_years
