"""outfile of an eval: where its predictions go too."""
import json

import pytest

from evaluators import outfile, predictions

DATA = dict(name="digits/tiny", split="val[:8]")


@pytest.mark.parametrize("pattern, path", [
    ("{workdir}/{split}.json", "W/val__8_.json"),  # []%: are _, as in big_vision
    ("{workdir}/said/{name}-{step}.jsonl", "W/said/okvqa/val-30.jsonl"),
    ("/tmp/mine.json", "/tmp/mine.json"),
])
def test_patterns(pattern, path):
  outfile.check(pattern, "okvqa/val")
  assert outfile.resolve(pattern, "W", "okvqa/val", DATA, 30) == path


@pytest.mark.parametrize("pattern, complaint", [
    ("{workdir}/{split}.txt", "'ocr' has outfile=.*: give a path that ends in .json or .jsonl"),
    ("{workdir}/{spilt}.json", "has no 'spilt'. Did you mean 'split'"),
    ("{workdir}/{step:05}.json", "write {step} alone"),
    ("{workdir}/{step.json", "expected '}' before end"),
    ("{workdir}/config.json", "could be a file of the run itself"),
    ("{workdir}/x/../config.json", "could be a file of the run itself"),
])
def test_patterns_that_say_no_file(pattern, complaint):
  with pytest.raises(ValueError, match=complaint):
    outfile.check(pattern, "ocr")


def test_the_name_of_an_eval_may_be_that_of_a_file_of_the_run():
  with pytest.raises(ValueError, match="could be a file of the run itself"):
    outfile.check("{workdir}/{name}.jsonl", "metrics")


def test_two_evals_with_one_file():
  entry = dict(data=DATA, outfile="{workdir}/{split}.json")
  with pytest.raises(ValueError, match="'a' and 'b' have the same outfile, .*val__8_.json"):
    outfile.check_apart({"a": entry, "mean": {}, "b": entry})
  outfile.check_apart({"a": entry, "b": {**entry, "outfile": "{workdir}/{name}.json"}})


def test_a_json_is_one_list(tmp_path):
  rows = [{"id": 1, "prediction": "två"}, {"id": 2, "prediction": "]"}]
  for some in (rows, []):
    predictions.write_predictions(tmp_path / "a.json", some)
    assert json.loads((tmp_path / "a.json").read_text()) == some
