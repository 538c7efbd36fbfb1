import json

import pytest

from evaluators import compare
from evaluators.predictions import write_predictions


def evaluation(folder, accuracy, answers, evals=("answer",), split="test"):
  """An evaluation's folder with the metrics and predictions that compare() reads."""
  result = dict(n=len(answers), percent=True)
  (folder / "predictions").mkdir(parents=True)
  (folder / "metrics.json").write_text(json.dumps({
      "evals": list(evals), "metrics": {"answer/acc": {"value": accuracy, **result},
                                        "answer/f1/long": {"value": None, **result}}}))
  write_predictions(folder / "predictions" / "answer.jsonl", [
      {"_id": f"digits/small/{split}:{i}", "prefix": f"question {i}\n", "suffix": "2",
       "prediction": text} for i, text in enumerate(answers)])
  return folder


def test_metrics_and_the_answers_that_differ(tmp_path):
  before = evaluation(tmp_path / "w" / "before", 1 / 3, ["1", "2", "\x1b[31m3\u2028"])
  after = evaluation(tmp_path / "w" / "after", 1., ["2", "2", "2"])
  assert compare.compare([before, after]).splitlines() == [
      "metric          before   after  examples",
      "answer/acc       33.3%  100.0%         3",
      "answer/f1/long       -       -         3",
      "",
      "answer      reference  before       after",
      "question 0  2          1            2",
      "question 2  2          \\u001b[31m3  2"]
  assert "question 2" not in compare.compare([before, after], examples=1)


def test_names_tell_the_folders_apart(tmp_path):
  one, two = (evaluation(tmp_path / w / "test", 1., ["2"]) for w in ("a", "b"))
  assert compare.compare([one, two]).split()[1:3] == ["a/test", "b/test"]


def test_a_folder_without_an_evaluation_is_named(tmp_path):
  done = evaluation(tmp_path / "done", 1., ["2"])
  with pytest.raises(FileNotFoundError, match="nothing holds no finished evaluation"):
    compare.compare([done, tmp_path / "nothing"])
  (tmp_path / "nothing").mkdir()
  (tmp_path / "nothing" / "metrics.json").write_text('{"metrics": {}, "evals": []}')
  with pytest.raises(ValueError, match="no metric in common"):
    compare.compare([done, tmp_path / "nothing"])


def test_evaluations_of_different_examples_are_refused(tmp_path):
  test = evaluation(tmp_path / "test", 1., ["2"])
  val = evaluation(tmp_path / "val", 1., ["2"], split="val")
  with pytest.raises(ValueError, match="different examples: .*has digits/small/test:0"):
    compare.compare([test, val])
  fewer = evaluation(tmp_path / "fewer", 1., ["2", "2"])
  with pytest.raises(ValueError, match="has digits/small/test:1. Evaluate both on the same data"):
    compare.compare([test, fewer])
  (val / "predictions" / "answer.jsonl").write_text('{"_id": "digits')
  with pytest.raises(ValueError, match="answer.jsonl"):
    compare.compare([test, val])
