"""The base of the builders: order, resumption, and what a bad release is answered with."""
import hashlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from big_vlm.data import tfds as prepared
from big_vlm.datasets import base, prepare

COUNT = 50


class Numbers(base.Builder):
  """A release of numbered text files."""
  name = "numbers"
  FEATURES = dict(id=base.INT, text=base.TEXT, box=base.BOX)
  SPLITS = ("train", "test")
  COUNTS = {"train": COUNT}

  def records(self, raw, split):
    return [(row["key"], row) for row in raw.lines(f"{split}.jsonl")]

  def example(self, raw, record):
    return dict(id=record["id"], text=raw.text(record["file"]),
                box=tfds.features.BBox(0., 0., 0.5, 1.))


@pytest.fixture
def raw(tmp_path):
  """The folder of a release of Numbers."""
  def rows(n):
    return "".join(f'{{"key": {i * 7}, "id": {i}, "file": "texts/{i}.txt"}}\n' for i in range(n))
  (tmp_path / "texts").mkdir()
  for i in range(COUNT):
    (tmp_path / "texts" / f"{i}.txt").write_text(f"text {i}")
  (tmp_path / "train.jsonl").write_text(rows(COUNT))
  (tmp_path / "test.jsonl").write_text(rows(3))
  return tmp_path


def read(folder, split="train"):
  source = prepared.Tfds("numbers", split, folder / "data")
  return [source[i] for i in range(len(source))]


def test_examples_come_back_in_the_order_of_tfds(raw, monkeypatch):
  class Theirs(tfds.core.GeneratorBasedBuilder):
    """The same examples, written by TFDS itself."""
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(
          {"id": base.INT}))

    def _split_generators(self, dl_manager):
      return {"train": ((i * 7, {"id": i}) for i in range(COUNT))}

    def _generate_examples(self):
      pass

  theirs = Theirs(data_dir=raw / "theirs", file_format="array_record")
  theirs.download_and_prepare()
  monkeypatch.setattr(base, "SHARD", 16)
  prepare.prepare("numbers", raw / "data", raw)
  ours = read(raw)
  assert [e["id"] for e in ours] == [e["id"] for e in theirs.as_data_source("train")]
  assert sorted(e["id"] for e in ours) == list(range(COUNT))
  assert ours[3]["text"] == f"text {ours[3]['id']}"
  np.testing.assert_array_equal(ours[3]["box"], [0, 0, 0.5, 1])
  files = sorted(p.name for p in (raw / "data/numbers/1.0.0").glob("*train*"))
  assert files[-1] == "numbers-train.array_record-00003-of-00004"
  assert [e["id"] for e in read(raw, "train[:10%]")] == [e["id"] for e in ours[:5]]
  assert len(read(raw, "test")) == 3


def test_what_was_killed_goes_on_at_the_shard_where_it_stopped(raw, monkeypatch):
  monkeypatch.setattr(base, "SHARD", 10)
  monkeypatch.setattr(base, "AT_ONCE", 1)
  made, example = [], Numbers.example

  def dies(self, raw, record):
    if len(made) == 25:
      raise KeyboardInterrupt
    made.append(record["id"])
    return example(self, raw, record)
  monkeypatch.setattr(Numbers, "example", dies)
  with pytest.raises(KeyboardInterrupt):
    prepare.prepare("numbers", raw / "data", raw)
  assert not prepared.builder("numbers", raw / "data").is_prepared()
  made.clear()
  monkeypatch.setattr(Numbers, "example",
                      lambda *args: made.append(args[2]["id"]) or example(*args))
  prepare.prepare("numbers", raw / "data", raw)
  assert len(made) == COUNT - 20 + 3  # two of the shards were whole
  assert sorted(e["id"] for e in read(raw)) == list(range(COUNT))
  assert not list((raw / "data").glob(".preparing*"))


@pytest.mark.parametrize("old, new, first_id", [('"key": 70,', '"key": 71,', ""),
                                                ('"id": ', '"id": 1', "1")])
def test_shards_of_other_annotations_are_not_taken(raw, monkeypatch, old, new, first_id):
  monkeypatch.setattr(base, "SHARD", 10)
  (raw / "texts/20.txt").rename(raw / "away.txt")
  with pytest.raises(FileNotFoundError, match="numbers needs .*texts/20.txt"):
    prepare.prepare("numbers", raw / "data", raw)
  (raw / "away.txt").rename(raw / "texts/20.txt")
  rows = (raw / "train.jsonl").read_text()
  (raw / "train.jsonl").write_text(rows.replace(old, new))
  prepare.prepare("numbers", raw / "data", raw)
  assert {e["id"] for e in read(raw)} == {int(f"{first_id}{i}") for i in range(COUNT)}


@pytest.mark.parametrize("file, content, complaint", [
    ("train.jsonl", '{"key": 1}\n', "the release has 50 examples in train, .* has 1: the download"),
    ("train.jsonl", "", "has 0: the download is incomplete"),
    ("test.jsonl", "", "has no examples of test"),
    ("test.jsonl", '{"key": 1}\n{"key": 2}\n{"key": 1}\n', "the key 1 is twice in test, at "
     "records [02] and [02]"),
    ("test.jsonl", '{"key": 1}\n', "numbers, test, example 1: the release is not laid out as "
     "expected, KeyError: 'id'"),
    ("test.jsonl", '{"key": 1}\n{"ke', "test.jsonl, line 2 is not JSON"),
    ("test.jsonl", '{"key": 1, "id": "x", "file": "test.jsonl"}', "example 1 does not fit the "
     "features of the set: .*id"),
])
def test_a_bad_release_is_one_clear_error(raw, file, content, complaint):
  (raw / file).write_text(content)
  with pytest.raises(ValueError, match=complaint):
    prepare.prepare("numbers", raw / "data", raw)
  assert not prepared.builder("numbers", raw / "data").is_prepared()


def test_partial_releases_and_hashes(raw, monkeypatch):
  digest = hashlib.md5((raw / "test.jsonl").read_bytes()).hexdigest()
  monkeypatch.setattr(Numbers, "HASHES", {"test.jsonl": digest, "train.jsonl": "0" * 64})
  with pytest.raises(ValueError, match="train.jsonl has the SHA256 .*, the release's has 0000"):
    prepare.prepare("numbers", raw / "data", raw)
  (raw / "train.jsonl").write_text('{"key": 1, "id": 4, "file": "texts/4.txt"}')
  prepare.prepare("numbers", raw / "data", raw, allow_incomplete=True)
  assert [e["id"] for e in read(raw)] == [4]


def test_without_its_files_a_set_says_what_it_needs(raw, capsys):
  with pytest.raises(ValueError, match="numbers is made from .*--manual_dir DIR.\n\nThe base of"):
    prepare.prepare("numbers", raw / "data")
  capsys.readouterr()
  prepare.main(["numbers", "--data_dir", str(raw / "data")])  # the command does not complain
  said = capsys.readouterr().out
  assert said.startswith("The base of") and said.endswith("prepare numbers --manual_dir DIR\n")
  with pytest.raises(ValueError, match="x.jpg .13 bytes. is none of JPEG, PNG, .*b'<html>no'"):
    (raw / "x.jpg").write_bytes(b"<html>no such")
    base.Raw(raw, Numbers).image("x.jpg")


def test_all_builders_have_a_name_and_say_what_they_need(capsys):
  prepare.main([])
  lines = capsys.readouterr().out.splitlines()
  assert any(line.startswith("okvqa: ") for line in lines) and len(lines) > 20
  for line in lines:
    assert prepared.builder(line.split(":")[0]).info.features


def test_some_splits_alone(raw):
  with pytest.raises(ValueError, match="Unknown split of numbers 'tset'. Did you mean 'test'"):
    prepare.prepare("numbers", raw / "data", raw, splits=["tset"])
  (raw / "train.jsonl").unlink()
  prepare.prepare("numbers", raw / "data", raw, splits=["test"])
  assert len(read(raw, "test")) == 3
  with pytest.raises(ValueError, match="is prepared in .* without train. Remove that folder"):
    prepare.prepare("numbers", raw / "data", raw, splits=["test", "train"])


@pytest.mark.parametrize("name", ["../x", "/dev/zero", "link", "a\\..\\b", "a\0"])
def test_names_that_lead_out_of_a_release_are_refused(raw, name):
  (raw / "link").symlink_to("/dev/zero")
  with pytest.raises(ValueError, match="is refused"):
    base.Raw(raw, Numbers).bytes(name)


@pytest.mark.parametrize("name", ["..", "images/..", "/tmp"])
def test_folders_that_lead_out_of_a_release_are_refused(raw, name):
  (raw / "images").mkdir(exist_ok=True)
  assert base.Raw(raw, Numbers).path("images").is_dir()
  with pytest.raises(ValueError, match="leads out of the release"):
    base.Raw(raw, Numbers).path(name)
