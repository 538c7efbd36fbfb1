"""Tars of webdataset's own writer, and what is wrong in others'."""
import io
import json
import os
import pathlib
import pickle
import tarfile

import numpy as np
import pytest

from big_vlm.data import source, tar_index, webdataset
from big_vlm.data.table_test import GOLDEN, plain
from big_vlm.data.webdataset import WebDataset

SAMPLES = json.loads((GOLDEN / "expected.json").read_text())["samples"]
PAIR = {"1.jpg": b"A", "1.txt": b"a cat", "2.jpg": b"B", "2.txt": b"a dog"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("BIG_VLM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def write(tmp_path):
  """A function {name: bytes, or the target of a link as a str}, or pairs -> path of a tar."""
  def write(members, name="x.tar", mode="w"):
    with tarfile.open(tmp_path / name, mode) as tar:
      for key, data in members.items() if isinstance(members, dict) else members:
        info = tarfile.TarInfo(key)
        if isinstance(data, str):
          info.type, info.linkname = tarfile.SYMTYPE, data
          tar.addfile(info)
        else:
          info.size = len(data)
          tar.addfile(info, io.BytesIO(data))
    return tmp_path / name
  return write


def test_samples_are_those_that_webdataset_reads():
  for path in (GOLDEN / "tars", f"{GOLDEN}/tars/train-*.tar",
               f"{GOLDEN}/tars/train-{{000000..000001}}.tar"):
    examples = source.get("webdataset", path=path, prefix="json/prompt", suffix="txt")
    assert len(examples) == len(SAMPLES)
    for i in [4, 0, 3, 1, 2]:
      want = dict(SAMPLES[i])
      key, image = want.pop("key"), want.pop("png", None) or want.pop("jpg")
      got = plain(examples[i])
      assert got.pop("_id") == f"train-00000{i // 3}.tar:{key}" and got.pop("image") == image
      assert got.pop("prefix") == want["json"]["prompt"] and got.pop("suffix") == want["txt"]
      assert got == want
      assert {*examples.fields(i)} == {*want, "prefix", "suffix"}
  assert examples.where(4).endswith("train-000001.tar, sample a/0004")
  again = pickle.loads(pickle.dumps(examples))
  assert plain(again[2]) == plain(examples[2]) and again.fingerprint() == examples.fingerprint()


def test_members_of_a_sample_may_lie_apart(write):
  """As `tar` packs them in the order of a folder."""
  path = write([("b.txt", b"b"), ("a.jpg", b"A"), ("d/", b""), ("b.jpg", b"B"), ("a.txt", b"a")])
  data = WebDataset(path, suffix="txt")
  assert [(x["image"], x["suffix"], x["_id"]) for x in map(data.__getitem__, range(2))] == [
      (b"B", "b", "x.tar:b"), (b"A", "a", "x.tar:a")]


def test_the_index_is_made_once_and_anew_after_a_change(write, monkeypatch, capsys):
  path = write(PAIR)
  before = WebDataset(path)
  read, made = tar_index._read, []
  monkeypatch.setattr(tar_index, "_read", lambda *a: made.append(a) or read(*a))
  assert WebDataset(path)[1]["image"] == b"B" and not made
  write({**PAIR, "2.jpg": b"BB"})
  os.utime(path, ns=(1, 1))
  with pytest.raises(ValueError, match="x.tar was changed after it was opened: start again"):
    before[1]
  after = WebDataset(path)
  assert after[1]["image"] == b"BB" and len(made) == 1
  assert "x.tar was changed since it was read last" in capsys.readouterr().out
  assert after.fingerprint() != before.fingerprint()
  kept, = (pathlib.Path(os.environ["BIG_VLM_CACHE"]) / "tar_index").iterdir()
  for broken in (b"", kept.read_bytes()[:300], b"PK\x03\x04" + bytes(99)):
    kept.write_bytes(broken)
    assert len(WebDataset(path)) == 2
  assert len(made) == 4


def test_a_cache_that_cannot_be_written_costs_time_alone(write, monkeypatch, tmp_path):
  (tmp_path / "file").write_bytes(b"")
  monkeypatch.setenv("BIG_VLM_CACHE", str(tmp_path / "file"))
  assert len(WebDataset(write(PAIR))) == 2


@pytest.mark.parametrize("members, names, complaint", [
    ([*PAIR.items(), ("1.JPG", b"C")], {}, "x.tar has the member '1.JPG' twice"),
    ({**PAIR, "2.png": b"C"}, {}, "sample 2 has .jpg, .txt, .png: say which is the image"),
    ({**PAIR, "3.jpg": b"C"}, {}, "1 of 3 samples lack a member .* sample 3, without txt"),
    ({**PAIR, "3.txt": b"C"}, {}, "sample 3, without image. incomplete='skip'"),
    ({**PAIR, "3.jpg": "1.jpg"}, {}, "the member '3.jpg' is a link, a sparse file or a device"),
    (PAIR, dict(suffix="text"), "has no 'text', which suffix='text' names. Did you mean 'txt'"),
    (PAIR, dict(members=("image", "json")), "Unknown member of the samples of .* 'json'"),
    (PAIR, dict(incomplete="skp"), "Did you mean 'skip'"),
    (PAIR, dict(suffix="txt/0"), "has no 'txt/0': txt is 'a cat'"),
    ({"1.json": b"{"}, {}, "sample 1.json, line 1, column 2: not valid JSON"),
    ({"1.json": b'{"a": 1, "a": 2}'}, {}, "sample 1.json is not valid JSON: .* twice"),
    ({"1.cls": b"x"}, {}, "sample 1.cls is not a whole number"),
    ({"1.txt": b"\xff"}, {}, "sample 1.txt is not UTF-8"),
    ({"README": b""}, {}, "has no samples: members are called KEY.EXTENSION"),
    ({}, {}, "has no samples"),
    ({"k" * 2000 + ".jpg": b""}, {}, "is longer than 1024"),
    ({"1._x": b""}, {}, "has the field '_x'"),
])
def test_bad_tars_are_named(write, members, names, complaint):
  with pytest.raises(ValueError, match=complaint):
    WebDataset(write(members), **names)[0]


def test_what_a_sample_must_have(write, capsys):
  path = write({**PAIR, "3.jpg": b"C", "README": b"", "._1.jpg": b"of macOS"})
  some = WebDataset(path, incomplete="skip")
  said = capsys.readouterr().out
  assert len(some) == 2 and "2 files without a key and an extension are left out" in said
  assert "1 of 3 samples lack a member" in said and "They are left out" in said
  assert len(WebDataset(path, members=("image",))) == 3
  assert WebDataset(write({"1.png": b"P", "1.mask.png": b"M"}))[0] == {
      "image": b"P", "mask.png": b"M", "_id": "x.tar:1"}
  assert WebDataset(write({"1.png": b"P", "1.jpg": b"J"}), image="jpg")[0]["image"] == b"J"


def test_a_huge_member_is_refused(write, monkeypatch):
  monkeypatch.setattr(webdataset, "MAX_LINE", 4)
  with pytest.raises(ValueError, match="x.tar: 1.txt has 0 MiB; at most 0 are read"):
    WebDataset(write(PAIR))


@pytest.mark.parametrize("fields,complaint", [
    ({"comment": "x" * 2**21}, "it has a header of 2,097,[0-9]+ bytes"),
    ({"path": "x" * 2**21}, "it has a header"), ({"size": "-2048"}, "has a negative size")])
def test_a_header_without_end_is_refused(write, tmp_path, fields, complaint):
  with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
    info = tarfile.TarInfo("README")
    info.pax_headers = fields
    tar.addfile(info)
  with pytest.raises(ValueError, match=f"x.tar .*{complaint}"):
    WebDataset(tmp_path / "x.tar")


def test_truncated_and_compressed_tars(write):
  path = write({**PAIR, "3.jpg": bytes(3000), "3.txt": b"x"})
  whole = path.read_bytes()
  ends = {0: "not a tar", 300: "not a tar", 512: "x.tar", 1024: "cut off",
          2600: "unexpected end of data", 5000: "x.tar"}
  for at, complaint in ends.items():
    path.write_bytes(whole[:at])
    with pytest.raises(ValueError, match=complaint):
      WebDataset(path)
  path.write_bytes(whole[:3072] + b"x" * 512 + whole[3584:])  # a header that is damaged
  with pytest.raises(ValueError, match="x.tar"):
    WebDataset(path)
  with pytest.raises(ValueError, match="y.tar.gz is compressed, .* unpack it"):
    WebDataset(write(PAIR, "y.tar.gz", "w:gz"))
  with pytest.raises(ValueError, match="is no range of up to"):
    WebDataset("train-{3..1}.tar")
  with pytest.raises(FileNotFoundError, match="There is no file .*train-01.tar"):
    WebDataset("train-{01..03}.tar")


def test_200_damaged_tars_give_examples_or_a_clear_error(write):
  path, rng = write(PAIR), np.random.default_rng(0)
  whole = path.read_bytes()
  for _ in range(200):
    at = int(rng.integers(len(whole) // 3))
    path.write_bytes(whole[:at] + rng.bytes(4) + whole[at + 4:])
    try:
      data = WebDataset(path)
      assert all(isinstance(data[i], dict) for i in range(len(data)))
    except ValueError as e:
      assert "x.tar" in str(e) and len(str(e)) < 2000
