"""Parquet files and folders of save_to_disk, as `datasets` itself reads them."""
import base64
import json
import os
import pathlib
import pickle
import shutil

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet as pq

from big_vlm.data import fields, parquet, source
from big_vlm.data.huggingface import HuggingFace
from big_vlm.data.parquet import Parquet

GOLDEN = pathlib.Path(__file__).parent / "golden"
ROWS = json.loads((GOLDEN / "expected.json").read_text())["rows"]
NAMES = dict(prefix="question", suffix="answers/1")


@pytest.fixture
def write(tmp_path):
  """A function columns -> the path of a Parquet file of row groups of two rows."""
  def write(name="x.parquet", row_group_size=2, **columns):
    pq.write_table(pyarrow.table(columns), tmp_path / name, row_group_size=row_group_size)
    return tmp_path / name
  return write


def plain(value):
  if isinstance(value, bytes):
    return base64.b64encode(value).decode()
  if isinstance(value, dict):
    return {k: plain(v) for k, v in value.items()}
  return plain(value.tolist()) if isinstance(value, np.ndarray) else (
      [plain(v) for v in value] if isinstance(value, list) else value)


@pytest.mark.parametrize("data, ids", [
    (dict(name="huggingface", path=GOLDEN / "saved", split="train"), "data-{}-of-00002.arrow:{}"),
    (dict(name="huggingface", path=GOLDEN / "saved/train"), "data-{}-of-00002.arrow:{}"),
    (dict(name="parquet", path=GOLDEN / "hub", split="train"), "train-{}-of-00002.parquet:{}"),
    (dict(name="parquet", path=f"{GOLDEN}/hub/data/train-*"), "train-{}-of-00002.parquet:{}"),
])
def test_rows_are_those_that_datasets_reads(data, ids):
  examples = source.get(**data, **NAMES)
  assert len(examples) == len(ROWS)
  for i in [3, 0, 4, 1, 2]:
    text = dict(prefix=ROWS[i]["question"], suffix=ROWS[i]["answers"][1])
    want = {**ROWS[i], **text, "_id": ids.format(f"{i // 3:05}", i % 3)}
    assert plain(examples[i]) == want
    light = plain(examples.fields(i))
    assert light == {k: v for k, v in want.items() if k not in ("image", "_id")}
  assert examples.where(3).endswith(", row 0")
  again = pickle.loads(pickle.dumps(examples))  # as a loader's worker gets it
  assert plain(again[4]) == plain(examples[4]) and again.fingerprint() == examples.fingerprint()
  with pytest.raises(IndexError, match="has 5 rows: there is no 5"):
    examples[5]


def test_a_class_is_a_name_where_it_is_a_text():
  for data in (HuggingFace(GOLDEN / "saved/train", suffix="label"),
               Parquet(GOLDEN / "hub", split="test", suffix="label")):
    assert [(data[i]["label"], data[i]["suffix"]) for i in (0, 1)] in (
        [(0, "no"), (1, "yes")], [(1, "yes"), (0, "no")])


def test_classes_in_lists_have_names_too_and_an_unknown_one_is_refused(tmp_path):
  """`datasets` numbers them -1 in test splits, whose labels are not published."""
  names = {"names": ["no", "yes"], "_type": "ClassLabel"}
  features = {"label": names, "tags": {"feature": names, "_type": "List"}, "old": [names],
              "objects": {"feature": {"kind": names}, "_type": "Sequence"}}
  table = pyarrow.table({"label": [1, -1], "tags": [[0, 1]] * 2, "old": [[1]] * 2,
                         "objects": [{"kind": [1, 0]}] * 2})
  about = json.dumps({"info": {"features": features}})
  pq.write_table(table.replace_schema_metadata({"huggingface": about}), tmp_path / "x.parquet")
  get = lambda **names: source.get("parquet", path=tmp_path / "x.parquet", **names)
  for field in ("label", "tags/1", "old/0", "objects/kind/0"):
    assert get(suffix=field)[0]["suffix"] == "yes"
  with pytest.raises(ValueError, match=r"row 1: 'label' is -1, none of its classes 0 to 1\. Leave "
                     r"such examples out with filter=\(\('label', '>=', 0\),\)"):
    get(suffix="label")[1]
  assert len(get(suffix="label", filter=(("label", ">=", 0),))) == 1

  about = about.replace('["no", "yes"]', '["yes", "no"]')
  pq.write_table(table.replace_schema_metadata({"huggingface": about}), tmp_path / "y.parquet")
  with pytest.raises(ValueError, match=r"y.parquet numbers the classes of 'label' otherwise than "
                     r".*x.parquet, \['yes', 'no'\] and not \['no', 'yes'\]"):
    source.get("parquet", path=tmp_path / "*.parquet", suffix="label")


def test_images_are_bytes_structs_or_lists_of_them(write):
  both = [{"bytes": b"A", "path": None}, {"bytes": b"B", "path": "b.png"}]
  data = Parquet(write(image=[b"A", b"B"], more=[both, both[:1]], n=[7, 8]), suffix="n")
  assert data[1] == {"image": b"B", "more": [b"A"], "n": 8, "suffix": "8", "_id": "x.parquet:1"}
  assert Parquet(write(images=[both, both[:1]]))[0]["image"] == [b"A", b"B"]
  one = Parquet(write(photo=both, id=["x", "y"]), image="photo")
  assert one[0] == {"image": b"A", "id": "x", "_id": "x.parquet:0"}
  with pytest.raises(ValueError, match="row 0: 'image' has no bytes, only the path 'b.png'"):
    Parquet(write(image=[{"bytes": None, "path": "b.png"}] * 2), check=False)[0]


@pytest.mark.parametrize("columns, names, complaint", [
    (dict(q=["a"]), dict(prefix="Q"), "has no 'Q', which prefix='Q' names. It has q"),
    (dict(question=["a"]), dict(prefix="qestion"), "Did you mean 'question'"),
    (dict(a=[["x"]]), dict(suffix="a"), "row 0: 'a' is .'x'., not a text. Name one entry of a"),
    (dict(a=[["x"]]), dict(suffix="a/1"), "row 0 has no 'a/1': a is a list of 1"),
    (dict(a=[{"b": "x"}]), dict(suffix="a/c"), "row 0 has no 'a/c': a has 'b'"),
    (dict(a=[1.5]), dict(suffix="a"), "row 0: 'a' is 1.5, not a text"),
    (dict(image=["a.png"]), {}, "row 0: 'image' is 'a.png', not the bytes of an image"),
    (dict(_x=[1]), {}, "has the field '_x': names that start with _ belong to the loader"),
    (dict(image=[b""], images=[[b""]]), {}, "has both 'image' and 'images'"),
    (dict(image=[b"A", None, None]), {}, "'image' is null in 2 of 3 rows. Leave .* check=False"),
    (dict(image=[{"bytes": b"A"}, {"bytes": None}]), {}, "'image' is null in 1 of 2 rows"),
    (dict(q=["a", None]), dict(suffix="q"), "'q' is null in 1 of 2 rows. .*filter=.*'!=', None"),
    (dict(q=[]), {}, "has no rows"),
    (dict(q=["a"]), dict(suffix=3), "suffix=3 of a source is the name of a field"),
    (dict(q=["a"]), dict(sufix="q"), "The data 'parquet' has no 'sufix'. Did you mean 'suffix'"),
])
def test_bad_columns_are_named(write, columns, names, complaint):
  with pytest.raises(ValueError, match=complaint):
    source.get("parquet", path=write(**columns), **names)[0]


def test_null_rows_are_skipped_by_a_filter_or_named_when_they_are_read(write):
  path = write(q=["a", None, "c"])
  some = source.get("parquet", path=path, suffix="q", check=False, filter=(("q", "!=", None),))
  assert [some[i]["suffix"] for i in range(len(some))] == ["a", "c"]
  with pytest.raises(ValueError, match="x.parquet, row 1: 'q' is null"):
    Parquet(path, suffix="q", check=False)[1]


def test_memory_is_bounded_by_the_cache(write, monkeypatch, capsys):
  """Only the last row groups stay; one that is too large is refused."""
  path = write(image=[bytes([i]) * 1000 for i in range(20)], q=["x"] * 20)
  monkeypatch.setattr(parquet, "CACHE", 5000)
  data = Parquet(path)
  for i in [*range(20), 3]:
    assert data[i]["image"][0] == i and data.fields(i) == {"q": "x"}
  assert sum(t.nbytes for t in data._groups.values()) <= 5000
  monkeypatch.setattr(parquet, "SLOW", 10)
  Parquet(path)
  assert capsys.readouterr().out.count("has row groups of up to 0 MiB") == 1
  Parquet(path)
  assert not capsys.readouterr().out
  monkeypatch.setattr(parquet, "MOST", 10)
  with pytest.raises(ValueError, match="has a row group of .* row_group_size=100"):
    Parquet(path)


def test_damaged_changed_and_missing_files(write, tmp_path):
  path = write(q=["a"] * 9)
  data, before = Parquet(path), Parquet(path).fingerprint()
  whole = path.read_bytes()
  path.write_bytes(whole[:200])
  with pytest.raises(ValueError, match="x.parquet was changed after it was opened: start again"):
    data[0]
  for bad in (whole[:200], b"", b"PAR1", bytes(1000)):
    path.write_bytes(bad)
    with pytest.raises(ValueError, match="x.parquet cannot be read: it is corrupt"):
      Parquet(path)
  rng = np.random.default_rng(0)
  for _ in range(30):  # in the pages: the footer is whole
    at = int(rng.integers(4, 100))
    path.write_bytes(whole[:at] + rng.bytes(8) + whole[at + 8:])
    try:
      Parquet(path, check=False)[0]
    except ValueError as e:
      assert "x.parquet" in str(e)
  assert Parquet(write(q=["b"] * 9)).fingerprint() != before
  other = write("y.parquet", p=["b"])
  with pytest.raises(ValueError, match="y.parquet has the column 'p', .*x.parquet has not"):
    Parquet([path, other])
  with pytest.raises(FileNotFoundError, match="There is no file nowhere.parquet"):
    Parquet("nowhere.parquet")
  with pytest.raises(ValueError, match="named twice"):
    Parquet([path, path])


def test_a_footer_on_which_the_library_crashes_is_refused(tmp_path):
  data = bytearray((GOLDEN / "hub/data/train-00000-of-00002.parquet").read_bytes())
  data[2481] ^= 64  # found by mutating
  (tmp_path / "x.parquet").write_bytes(data)
  for _ in range(2):  # another child answers
    with pytest.raises(ValueError, match="x.parquet is not a complete .parquet file: .*crashes"):
      Parquet(tmp_path / "x.parquet", suffix="lang")
  assert len(Parquet(GOLDEN / "hub", split="train")) == len(ROWS)


def test_checksums_are_compared_where_a_file_has_them(tmp_path):
  pq.write_table(pyarrow.table({"q": ["a" * 100] * 9}), tmp_path / "x.parquet",
                 write_page_checksum=True, use_dictionary=False, compression="none")
  data = (tmp_path / "x.parquet").read_bytes()
  at = data.index(b"d\0\0\0" + b"a" * 50) + 20  # a length and a text of the page
  (tmp_path / "x.parquet").write_bytes(data[:at] + bytes(9) + data[at + 9:])
  with pytest.raises(ValueError, match="x.parquet cannot be read: .*CRC"):
    Parquet(tmp_path / "x.parquet")[0]


def test_splits_and_shards_of_a_folder(tmp_path):
  hub = tmp_path / "hub"
  shutil.copytree(GOLDEN / "hub", hub)
  with pytest.raises(ValueError, match="has the splits test, train: choose with split="):
    Parquet(hub)
  with pytest.raises(ValueError, match="Unknown split of .* 'trian'. Did you mean 'train'"):
    Parquet(hub, split="trian")
  (hub / "default/train").mkdir(parents=True)
  shutil.copy(hub / "data/test-00000-of-00001.parquet", hub / "default/train/0000.parquet")
  assert len(Parquet(hub / "default")) == 2
  with pytest.raises(ValueError, match="has several folders of this split"):
    Parquet(hub, split="train")
  shutil.rmtree(hub / "default")
  (hub / "data/train-00000-of-00002.parquet").unlink()
  (hub / "data/train-00001-of-00003.parquet").write_bytes(b"")
  (hub / "data/train-00001-of-00002.parquet").rename(hub / "data/train-00000-of-00003.parquet")
  with pytest.raises(FileNotFoundError, match="has 2 of the 3 shards of 'train': train-00002-of-0"):
    Parquet(hub, split="train")
  for path, complaint in (("gs://x/a", "folders and splits are looked up on a disk alone"),
                          (str(tmp_path / "no*.parquet"), "No file matches")):
    with pytest.raises((ValueError, OSError), match=complaint):
      Parquet(path)


def test_folders_of_save_to_disk_that_are_damaged(tmp_path):
  folder = tmp_path / "saved"
  shutil.copytree(GOLDEN / "saved", folder)
  for kw, complaint in ((dict(path=folder), "has the splits train, test: choose with split="),
                        (dict(path=folder, split="val"), "Unknown split of"),
                        (dict(path=folder / "train", split="x"), "without splits: leave split='x'"),
                        (dict(path=tmp_path), "no folder of save_to_disk"),
                        (dict(path=tmp_path / "no"), "There is no folder"),
                        (dict(path="gs://b/x"), "mapped from a disk")):
    with pytest.raises((ValueError, OSError), match=complaint):
      HuggingFace(**kw)
  data = HuggingFace(folder / "train")
  before = pickle.dumps(data)
  file = folder / "train/data-00001-of-00002.arrow"
  whole = file.read_bytes()
  file.write_bytes(whole[:-100])
  with pytest.raises(ValueError, match="data-00001-of-00002.arrow is cut off"):
    HuggingFace(folder / "train")
  file.write_bytes(whole)
  os.utime(file, (1, 1))
  with pytest.raises(ValueError, match="was changed after it was opened"):
    pickle.loads(before)
  for names in ([{"a": 1}, "train"], ["x" * 10**6], {}):
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": names}))
    with pytest.raises(ValueError, match="dataset_dict.json names no splits"):
      HuggingFace(folder)
  at = whole.rindex(b"\xff\xff\xff\xff", 0, len(whole) - 8)
  file.write_bytes(whole[:at] + bytes(8) + whole[at + 8:])  # another end, before its rows
  with pytest.raises(ValueError, match="is damaged: the stream ends at byte"):
    HuggingFace(folder / "train")
  rng = np.random.default_rng(0)
  for _ in range(60):
    at = int(rng.integers(len(whole) - 16))
    file.write_bytes(whole[:at] + rng.bytes(8) + whole[at + 8:])
    try:
      assert HuggingFace(folder / "train", check=True)[4]["_id"]
    except ValueError as e:
      assert "data-0000" in str(e), e
  state = json.loads((folder / "train/state.json").read_text())
  for entry, complaint in (([{"filename": "../test/x"}], "is refused"),
                           ([{"filename": "no.arrow"}], "lacks no.arrow"), (3, "is not that of"),
                           ([], "has no rows")):
    (folder / "train/state.json").write_text(json.dumps({**state, "_data_files": entry}))
    with pytest.raises((ValueError, OSError), match=complaint):
      HuggingFace(folder / "train")


def test_null_is_counted_below_a_struct(tmp_path):
  table = pyarrow.table({"image": [{"bytes": b"A", "path": None}, {"bytes": None, "path": None}],
                         "text": [{"q": "a"}, None]})
  with pyarrow.OSFile(str(tmp_path / "d.arrow"), "wb") as file, pyarrow.ipc.new_stream(
      file, table.schema) as out:
    out.write_table(table)
  (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "d.arrow"}]}')
  with pytest.raises(ValueError, match="'image' is null in 1 of 2 rows"):
    HuggingFace(tmp_path)
  assert HuggingFace(tmp_path, check=False, prefix="text/q")[0]["prefix"] == "a"
  with pytest.raises(ValueError, match="d.arrow, row 1"):
    HuggingFace(tmp_path, check=False, prefix="text/q")[1]


def test_lists_of_other_values_stay():
  assert fields.Fields().example({"a": [None, "x"], "b": {"c": None}}, "w") == {
      "a": [None, "x"], "b": {"c": None}}
