import json
import pathlib

import numpy as np
import pytest

from big_vlm.data import mixture, source
from big_vlm.data.table_test import GOLDEN

LINES = [{"n": i, "lang": "de" if i % 2 else "en", "at": {"w": [i, 2 * i]}} for i in range(10)]


@pytest.fixture
def path(tmp_path):
  (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, LINES)))
  return str(tmp_path / "x.jsonl")


def numbers(examples):
  return [examples[i]["n"] for i in range(len(examples))]


@pytest.mark.parametrize("part, left", [
    (dict(start=7), [7, 8, 9]), (dict(stop=2), [0, 1]), (dict(start=-2), [8, 9]),
    (dict(start=1, stop=-7), [1, 2]), (dict(stop=99), list(range(10))), (dict(), list(range(10))),
    (dict(filter=(("lang", "==", "de"),)), [1, 3, 5, 7, 9]),
    (dict(filter=[["lang", "in", ["de", "fr"]], ["n", "<", 4]]), [1, 3]),
    (dict(filter=(("at/w/1", ">=", 16),)), [8, 9]), (dict(filter=(("n", "!=", 0),), stop=2), [1]),
    (dict(filter=(("n", "not in", (1, 2)),), start=1, stop=4), [3]),
])
def test_parts_of_a_source(path, part, left):
  examples = source.get("jsonl", path=path, **part)
  assert numbers(examples) == left
  assert [examples[i]["_id"] for i in range(len(left))] == [f"x.jsonl:{n + 1}" for n in left]
  whole = source.get("jsonl", path=path)
  assert examples.fingerprint() == whole.fingerprint()
  if part:
    assert examples.where(0) == whole.where(left[0])
    with pytest.raises(IndexError):
      examples[len(left)]


@pytest.mark.parametrize("part, complaint", [
    (dict(start=10), "start=10 leaves none of the 10 examples of .*x.jsonl, line 1"),
    (dict(stop=0.5), "stop=0.5 of a source is a number"), (dict(start=True), "start=True"),
    (dict(filter=(("n", ">", 100),)), "leaves none of the 10"),
    (dict(filter=("n", "==", 1)), "'n' of filter is not .field, comparison, value."),
    (dict(filter=(("n", "=", 1),)), "Unknown comparison of a filter '='. Did you mean"),
    (dict(filter=(("lang", "in", "de"),)), "'in' needs several values"),
    (dict(filter=(("lagn", "==", "de"),)), "names 'lagn', which no example has; .*'n', 'lang'"),
    (dict(filter=(("lang", "<", 3),)), "line 1: the filter cannot compare it"),
    (dict(filter=(("at", "==", 3),)), "line 1: the filter cannot compare it"),
    (dict(strat=3), "The data 'jsonl' has no 'strat'. Did you mean 'start'"),
])
def test_wrong_parts_are_named(path, part, complaint):
  with pytest.raises(ValueError, match=complaint):
    source.get("jsonl", path=path, **part)


@pytest.mark.parametrize("data, images", [
    (dict(name="parquet", path=GOLDEN / "hub", split="train", filter=(("lang", "==", "de"),)), 2),
    (dict(name="huggingface", path=GOLDEN / "saved/train", filter=(("width", ">", 9),)), 3),
    (dict(name="webdataset", path=GOLDEN / "tars", start=1, filter=(("txt", "!=", "x"),)), 4),
    (dict(name="memory", examples=[{"image": np.zeros((2, 2, 3), np.uint8), "n": i}
                                   for i in range(3)], filter=(("n", ">", 0),)), 2)])
def test_every_source_takes_them(data, images, tmp_path, monkeypatch):
  monkeypatch.setenv("BIG_VLM_CACHE", str(tmp_path))
  examples = source.get(**data)
  assert len(examples) == images and all("image" in examples[i] for i in range(images))


def test_a_slice_of_tfds(data_dir):
  data = dict(name="digits/tiny", split="train", data_dir=data_dir, start=-2)
  examples = source.get(**data, filter=(("id", "==", "train-000511"),))
  assert len(examples) == 1 and examples[0]["_id"] == "digits/tiny/train:511"
  assert examples.class_names("objects/label") == list("0123456789")


def test_files_by_their_names(tmp_path):
  kinds = {f"{GOLDEN}/hub/data/test-00000-of-00001.parquet": "parquet",
           f"{GOLDEN}/hub/data/t*.parquet": "parquet", f"{GOLDEN}/hub": "parquet",
           f"{GOLDEN}/saved": "huggingface", f"{GOLDEN}/saved/train": "huggingface",
           f"{GOLDEN}/tars": "webdataset", "x-{00..11}.tar": "webdataset", "x.tar.gz": "webdataset",
           "a.jsonl": "jsonl", "gs://b/a.jsonl.gz": "jsonl", "train.json": "jsonl"}
  for path, name in kinds.items():
    assert source.of_paths((path,)) == dict(
        name=name, path=path if name == "huggingface" else (path,))
  assert source.of_paths((pathlib.Path("a.tar"), "b.tar"), suffix="txt", prefix="") == dict(
      name="webdataset", path=(pathlib.Path("a.tar"), "b.tar"), suffix="txt")
  with pytest.raises(ValueError, match="suffix=answer names a field of Parquet.* is JSONL"):
    source.of_paths(("a.jsonl",), suffix="answer")
  with pytest.raises(ValueError, match="holds no data that is known"):
    source.of_paths((tmp_path,))
  with pytest.raises(ValueError, match="a.jsonl and b.tar are not of one kind"):
    source.of_paths(("a.jsonl", "b.tar"))
  with pytest.raises(ValueError, match="are folders of `datasets`: give each"):
    source.of_paths((f"{GOLDEN}/saved/train", f"{GOLDEN}/saved/test"))


def test_a_stream_of_all_kinds_is_a_function_of_seed_and_index(tmp_path, monkeypatch):
  """Read in any order, by a copy as a worker has it, and from the middle as a run that resumes."""
  monkeypatch.setenv("BIG_VLM_CACHE", str(tmp_path))
  parts = [dict(data=source.of_paths((f"{GOLDEN}/{path}",), suffix=suffix), pp="")
           for path, suffix in (("hub/data/train-*.parquet", "label"), ("saved/train", "question"),
                                ("tars", "txt"))]
  one, other = mixture.Mixture(parts, 3), mixture.Mixture(parts, 3)
  straight = [one[i]["_id"] for i in range(45)]
  assert [other[i]["_id"] for i in reversed(range(45))] == straight[::-1]
  assert len(set(straight)) == 15 and None not in one.fingerprints().values()


@pytest.mark.parametrize("data, message", [
    (dict(path="a.jsonl"), "name=None of data is not one of jsonl, memory"),
    (dict(name=["jsonl"], path="a.jsonl"), "name=.'jsonl'. of data is not one of jsonl"),
    (dict(name="parqet", path="a.parquet"), "'parqet' is not one of .* Did you mean 'parquet'"),
    (dict(name="parquet"), "The data 'parquet' needs path="),
    (dict(name="digits/tiny"), "The data 'digits/tiny' needs split="),
    (dict(name="digits/tiny", splt="train"), "has no 'splt'. Did you mean 'split'"),
    (dict(name="jsonl", path=None), "path=None of a source is not a file, or a list of files"),
    (dict(name="huggingface", path=3), "path=3 of a source is not a file"),
    (dict(name="memory", examples=[{"n": 1}], filter=5), "filter=5 is not a tuple of"),
])
def test_data_that_make_no_sense(data, message):
  with pytest.raises(ValueError, match=message):
    source.get(**data)
