"""VQA accuracies: the official codes' golden scores, the tables of match counts, bad input."""
import json
import pathlib

import numpy as np
import pytest

from evaluators.metrics import vqa, vqa_text

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden/vqa.json").read_text())
METRICS = [vqa.vqav2_accuracy, vqa.textvqa_accuracy, vqa.vizwiz_accuracy, vqa.vqa_accuracy,
           vqa.any_match]


def test_equals_the_official_codes():
  assert len(GOLDEN["cases"]) >= 500
  worst = 0
  for said, counts, *scores in GOLDEN["cases"]:
    answers = [a for a, n in counts for _ in range(n)]
    got = [metric(said, answers) for metric in METRICS[:3]]
    assert got == pytest.approx(scores, abs=1e-9), (said, answers)
    worst = max(worst, *np.abs(np.subtract(got, scores)))
  assert worst < 1e-9


def test_texts_are_cleaned_as_by_the_official_codes():
  assert len(GOLDEN["texts"]) >= 250
  for text, vqav2, textvqa in GOLDEN["texts"]:
    assert (vqa_text.normalize(text), vqa_text.normalize_textvqa(text)) == (vqav2, textvqa), text


def test_the_golden_questions_tell_the_rules_apart():
  scores = np.array([case[2:] for case in GOLDEN["cases"]])
  for i, j in ((0, 1), (0, 2), (1, 2)):
    assert (scores[:, i] != scores[:, j]).sum() > 30
  assert all(((column > 0) & (column < 1)).sum() > 50 for column in scores.T)


@pytest.mark.parametrize("matches, score, soft", [
    (0, 0, 0), (1, .3, 1 / 3), (2, .6, 2 / 3), (3, .9, 1), (4, 1, 1), (10, 1, 1)])
def test_ten_annotators(matches, score, soft):
  answers = ["red"] * matches + ["blue"] * (10 - matches)
  for metric in METRICS[:3]:
    assert metric("red", answers) == pytest.approx(score)
  assert vqa.vqa_accuracy("red", answers) == pytest.approx(soft)
  assert vqa.any_match("red", answers) == float(matches > 0)


def test_vqav2_cleans_only_where_annotators_differ():
  assert vqa.vqav2_accuracy("yes", ["Yes"] * 10) == 0
  assert vqa.vqav2_accuracy("yes", ["Yes"] * 9 + ["no"]) == 1
  assert vqa.vqav2_accuracy(" Yes\n", ["Yes\t"] * 10) == 1  # space at the ends goes always
  assert vqa.textvqa_accuracy("yes", ["Yes"] * 10) == 1


@pytest.mark.parametrize("text, vqav2, textvqa", [
    ("The 1,000 cats.", "1000 cats", "1000 cats"),
    ("1,000-2,000", "10002000", "1000 2000"),  # a comma between digits glues all marks
    ("two-three", "2 3", "2 3"),
    ("red, blue", "red blue", "red blue"),
    ("red,blue", "red blue", "redblue"),
    ("u.s.a.", "usa", "usa"),
    ("3.5 m.", "3.5 m", "3.5 m"),
    ("5.", "5", "5"),
    ("dont know", "don't know", "don't know"),
    ("couldntve", "couldntve", "couldntve"),  # one apostrophe may be missing, not two
    ("couldnt've", "couldn't've", "couldn't've"),
    ("somebody'd", "somebodyd", "somebodyd"),
    ("Nike's", "nike's", "nike 's"),
    ("none", "0", "0"),
    ("eleven", "eleven", "eleven"),
    ("an a the", "", ""),
    ("10:30", "10:30", "10:30"),  # colon and apostrophe are no punctuation here
    ("line\u2028break", "line break", "line break"),
])
def test_cleaning(text, vqav2, textvqa):
  assert vqa_text.normalize(text) == vqav2
  assert vqa_text.normalize_textvqa(text) == textvqa


@pytest.mark.parametrize("prediction", ["Red", "red ", "red.", ""])
def test_the_plain_rules_compare_answers_as_they_are(prediction):
  assert vqa.vqa_accuracy(prediction, ["red"] * 10) == 0
  assert vqa.any_match(prediction, ["red"] * 10) == 0


def test_vizwiz_cleans_the_prediction_only():
  assert vqa.vizwiz_accuracy("The Unanswerable.", ["unanswerable"] * 10) == 1
  assert vqa.vizwiz_accuracy("Coca-Cola", ["Coca-Cola"] * 10) == 0


def test_few_annotators_cap_the_scores():
  assert vqa.vqa_accuracy("red", ["red"]) == pytest.approx(1 / 3)
  assert vqa.vqa_accuracy("red", ["red", "red"]) == pytest.approx(2 / 3)
  assert vqa.any_match("red", ["red"]) == 1
  assert vqa.vqav2_accuracy("red", ["red"] * 3) == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", METRICS)
def test_bad_answers(metric):
  with pytest.raises(TypeError, match="'red'; give a list"):
    metric("r", "red")
  with pytest.raises(ValueError, match="No answers"):
    metric("red", [])
  with pytest.raises(TypeError, match="one is 2"):
    metric("red", ["red", 2])
  with pytest.raises(TypeError, match="one is nan"):
    metric(float("nan"), ["red", "blue"])


@pytest.mark.parametrize("metric", METRICS[:3])
def test_none_is_left_of_one_annotator(metric):
  with pytest.raises(ValueError, match="there is one answer, 'red'"):
    metric("red", ["red"])


@pytest.mark.parametrize("prediction, target, score", [
    ("3", "3", 1), ("three", "3", 1), ("Three", "3", 1), ("3", "three", 1), ("none", "0", 1),
    ("zero", "none", 1), ("twenty", "20", 1), ("3", 3, 1), ("three", np.int64(3), 1), ("17", 17, 1),
    ("twenty-one", "21", 0), ("3 cats", "3", 0), ("3.", "3", 0), ("03", "3", 0), (" 3", "3", 0),
    ("4", "3", 0), ("", "0", 0), ("many", "3", 0), ("Many", "many", 0),
])
def test_counting(prediction, target, score):
  assert vqa.counting_accuracy(prediction, target) == score


@pytest.mark.parametrize("prediction, target", [("3", 3.0), ("3", True), (3, "3"), ("3", None)])
def test_counts_are_text_or_whole_numbers(prediction, target):
  with pytest.raises(TypeError, match="count is"):
    vqa.counting_accuracy(prediction, target)
