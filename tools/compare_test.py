import json
import re

import pytest
from PIL import Image

from evaluators.predictions import write_predictions
from tools import compare


def evaluation(folder, accuracy, answers, evals=("answer",), split="test", **more):
  """An evaluation's folder with the metrics and predictions that compare reads."""
  result = dict(n=len(answers), percent=True)
  (folder / "predictions").mkdir(parents=True)
  (folder / "metrics.json").write_text(json.dumps({
      "evals": list(evals), **more,
      "metrics": {"answer/acc": {"value": accuracy, **result},
                  "answer/f1/long": {"value": None, **result},
                  "answer/f1": {"value": .5, **result, "percent": False}}}))
  write_predictions(folder / "predictions" / "answer.jsonl", [
      {"_id": f"{split}:{i}", "id": i, "prefix": f"question {i}\n", "suffix": "2",
       "prediction": text, "score": float(text == "2"), "correct": text == "2"}
      for i, text in enumerate(answers)])
  return folder


def said(*folders, **kw):
  evaluations = compare.read_evaluations(folders)
  return compare.compare(evaluations, compare.all_predictions(evaluations), **kw)


def test_metrics_and_the_answers_that_differ(tmp_path):
  before = evaluation(tmp_path / "w" / "before", 1 / 3, ["1", "2", "\x1b[31m3\u2028"])
  after = evaluation(tmp_path / "w" / "after", 1., ["2", "2", "2"])
  first, answers, differences = said(before, after).split("\n\n")
  assert first.splitlines() == [
      "metric          before   after  examples",
      "answer/acc       33.3%  100.0%         3",
      "answer/f1/long       -       -         3",
      "answer/f1        0.500   0.500         3"]
  assert answers.splitlines() == [
      "answer      reference  before       after",
      "question 0  2          1            2",
      "question 2  2          \\u001b[31m3  2"]
  assert "question 2" not in said(before, after, examples=1)
  assert differences.splitlines() == [
      "difference      after - before     95 % interval      p     test",
      "answer/acc              +66.7%  +0.0% to +100.0%  0.500  McNemar",
      "answer/f1/long               -                 -      -        -",
      "answer/f1               +0.000                 -      -        -",
      "answer/f1/long: it is undefined in one of the two",
      "answer/f1: no interval: it is neither a mean over the examples, nor COCO's AP, AP50 or AP75",
      "answer: 2 of 3 examples are right in after alone, 0 in before alone"]


def test_each_of_several_is_compared_with_the_first(tmp_path):
  folders = [evaluation(tmp_path / name, value, ["2"] * n + ["3"] * (4 - n))
             for name, value, n in (("a", .25, 1), ("b", .5, 2), ("c", 1., 4))]
  text = said(*folders)
  assert re.findall(r"^difference +(\S+ - \S+)", text, re.MULTILINE) == ["b - a", "c - a"]
  assert re.search(r"answer/acc +\+75.0% .* McNemar", text)


def test_questions_about_one_image_are_drawn_together(tmp_path):
  """Twenty questions about two images, all of one image better: nearly nothing is known."""
  def write(name, right):
    folder = evaluation(tmp_path / name, right, ["2" if i < 20 * right else "1" for i in range(20)])
    path = folder / "predictions" / "answer.jsonl"
    rows = [json.loads(line) | {"image_digest": i // 10}
            for i, line in enumerate(path.read_text().splitlines())]
    write_predictions(path, rows)
    return folder
  assert re.search(r"answer/acc +\+50.0% +\+0.0% to \+100.0% +1.000 +permutation",
                   said(write("before", 0.), write("after", .5)))


def test_boxes_have_intervals_too(tmp_path):
  from evaluators import detection
  folders = []
  for name, shift in (("good", 0.), ("bad", .3)):
    rows = [{"_id": i, "id": i, "prefix": "detect cat", "image_size": [100, 100],
             "objects/bbox": [[.1, .1, .5, .5]], "objects/label": ["cat"],
             "prediction": f"<loc{int(1023 * (.1 + shift * (i % 2))):04d}><loc0102>"
                           f"<loc{int(1023 * (.5 + shift * (i % 2))):04d}><loc0512> cat"}
            for i in range(20)]
    found = detection.score(rows, None)
    folder = tmp_path / name
    (folder / "predictions").mkdir(parents=True)
    write_predictions(folder / "predictions" / "detect.jsonl", rows)
    (folder / "metrics.json").write_text(json.dumps({"evals": ["detect"], "metrics": {
        f"detect/{k}": {"value": v, "n": 20, "percent": True} for k, v in found.items()}}))
    folders.append(folder)
  text = said(*folders)
  assert re.search(r"detect/AP50 +-\d\d.\d% +-\d\d.\d% to -\d+.\d% +< 0.001|0.00\d +permutation",
                   text), text
  assert "detect: 0 of 20 examples are right in bad alone, 10 in good alone" in text


def test_a_page_of_the_examples_that_changed_sides(tmp_path, capsys):
  lines = []
  for i in range(3):
    Image.new("RGB", (40, 30), (80 * i, 9, 9)).save(tmp_path / f"{i}.png")
    lines.append(json.dumps({"image": f"{i}.png", "prefix": f"question {i}"}))
  (tmp_path / "test.jsonl").write_text("\n".join(lines))
  entries = {"answer": dict(type="exact_match", data=dict(
      name="jsonl", path=str(tmp_path / "test.jsonl")))}
  one = evaluation(tmp_path / "one", 2 / 3, ["2", "2", "3"], split="test.jsonl", entries=entries)
  for name in ("one", "two"):
    path = tmp_path / name / "predictions" / "answer.jsonl"
    if name == "two":
      evaluation(tmp_path / name, 2 / 3, ["2", "4", "2"], split="test.jsonl", entries=entries)
    path.write_text(re.sub(r'"test.jsonl:(\d)"', lambda m: f'"test.jsonl:{int(m[1]) + 1}"',
                           path.read_text()))
  compare.main([str(one), str(tmp_path / "two"), "--html", str(tmp_path / "page.html")])
  assert capsys.readouterr().out.endswith(f"page: {tmp_path / 'page.html'}\n")
  page = (tmp_path / "page.html").read_text()
  rows = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["rows"]
  assert [(r["id"], r["verdict"], r["answer"], r["otherAnswer"]) for r in rows] == [
      ("1", "wrong", "4", "2"), ("2", "right", "2", "3")]
  assert rows[0]["names"] == {"pred": "two", "other": "one"} and "two - one" in page
  assert all(r["image"][1:] == [40, 30] for r in rows)
  (tmp_path / "test.jsonl").unlink()
  compare.main([str(one), str(tmp_path / "two"), "--html", str(tmp_path / "page.html")])
  assert "(without pictures of answer: their data are not here)" in capsys.readouterr().out


def test_names_tell_the_folders_apart(tmp_path):
  one, two = (evaluation(tmp_path / w / "test", 1., ["2"]) for w in ("a", "b"))
  assert said(one, two).split()[1:3] == ["a/test", "b/test"]


def test_a_folder_without_an_evaluation_is_named(tmp_path):
  done = evaluation(tmp_path / "done", 1., ["2"])
  with pytest.raises(FileNotFoundError, match="nothing holds no finished evaluation"):
    said(done, tmp_path / "nothing")
  (tmp_path / "nothing").mkdir()
  (tmp_path / "nothing" / "metrics.json").write_text('{"metrics": {}, "evals": []}')
  with pytest.raises(ValueError, match="no metric in common"):
    said(done, tmp_path / "nothing")
  (trained := tmp_path / "w").joinpath("checkpoints").mkdir(parents=True)
  with pytest.raises(FileNotFoundError, match=(
      f"Make one: python -m evaluators.run --config CONFIG --init {trained} --workdir {trained}/"
      f"test, and give {trained}/test.$")):
    said(done, trained)
  other = evaluation(tmp_path / "other", 1., ["2"])
  (other / "predictions" / "answer.jsonl").unlink()
  with pytest.raises(FileNotFoundError, match="other/predictions/answer.jsonl is not there, but "):
    said(done, other)


def test_evaluations_of_different_examples_are_refused(tmp_path):
  test = evaluation(tmp_path / "test", 1., ["2"])
  val = evaluation(tmp_path / "val", 1., ["2"], split="val")
  with pytest.raises(ValueError, match="different examples: .*has test:0"):
    said(test, val)
  edited = evaluation(tmp_path / "edited", 1., ["2"])
  path = edited / "predictions" / "answer.jsonl"
  path.write_text(path.read_text().replace('"suffix": "2"', '"suffix": "3"'))
  with pytest.raises(ValueError, match="test:0 has another prompt or reference in"):
    said(test, edited)
  fewer = evaluation(tmp_path / "fewer", 1., ["2", "2"])
  with pytest.raises(ValueError, match="has test:1. Evaluate both on the same data"):
    said(test, fewer)
  (val / "predictions" / "answer.jsonl").write_text('{"_id": "digits')
  with pytest.raises(ValueError, match="answer.jsonl"):
    said(test, val)


@pytest.mark.parametrize("flags, complaint", [
    (["a"], "give two folders or more"), (["a", "b", "c", "--html", "x"], "--html is of two")])
def test_how_many_folders(flags, complaint, capsys):
  with pytest.raises(SystemExit):
    compare.main(flags)
  assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("name, change, message", [
    ("metrics.json", lambda c: c | {"metrics": {"answer/acc": 1}}, "is not the metrics.json"),
    ("metrics.json", lambda c: c | {"evals": [["answer"]]}, "is not the metrics.json"),
    ("metrics.json", lambda c: c | {"metrics": {"answer/acc": {"value": 10**400}}}, "is not the"),
    ("metrics.json", lambda c: c | {"evals": []}, "have no metric in common"),
    ("metrics.json", lambda c: c | {"evals": ["../x"], "metrics": {"../x/acc": c["metrics"][
        "answer/acc"]}}, "'predictions/../x.jsonl' is absolute or has"),
    ("predictions/answer.jsonl", lambda c: [c], "line 1, is not a prediction"),
    ("predictions/answer.jsonl", lambda c: c | {"prediction": 3}, "line 1, is not a prediction"),
    ("predictions/answer.jsonl", lambda c: c | {"score": "1"}, "line 1, is not a prediction"),
    ("predictions/answer.jsonl", lambda c: c | {"counts": {"a": [1]}}, "line 1, is not a pred")])
def test_files_of_others(tmp_path, name, change, message):
  folder = evaluation(tmp_path / "a", 1., ["2"])
  content = json.loads((folder / name).read_text())
  (folder / name).write_text(json.dumps(change(content)))
  with pytest.raises(ValueError, match=message):
    said(folder, folder)
