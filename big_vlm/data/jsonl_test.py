import copy
import functools
import gzip
import http.server
import json
import os
import pathlib
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from big_vlm.data import jsonl, source
from big_vlm.data.jsonl import Jsonl
from pp import foreign


@pytest.fixture
def write(tmp_path):
  """A function lines (bytes, str or dicts) -> the file data/train.jsonl, beside two images."""
  folder = tmp_path / "data"
  folder.mkdir()
  (folder / "a.png").write_bytes(b"A")
  (folder / "b.png").write_bytes(b"B")
  (tmp_path / "outside.png").write_bytes(b"outside")

  def write(*lines):
    lines = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    lines = [line.encode() if isinstance(line, str) else line for line in lines]
    (folder / "train.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return folder / "train.jsonl"
  return write


def test_an_image_several_or_none_and_any_other_field(write):
  path = write({"image": "a.png", "prefix": "caption en", "suffix": "a cat"},
               {"images": ["a.png", "b.png"], "note": None},
               {"images": ["b.png"]},
               {"images": [], "prefix": "text only"},
               {"prefix": "2 + 2", "suffix": "4"})
  examples = source.get("jsonl", path=str(path))
  assert list(examples[i] for i in range(len(examples))) == [
      {"image": b"A", "prefix": "caption en", "suffix": "a cat", "_id": "train.jsonl:1"},
      {"image": [b"A", b"B"], "note": None, "_id": "train.jsonl:2"},
      {"image": [b"B"], "_id": "train.jsonl:3"},
      {"prefix": "text only", "_id": "train.jsonl:4"},
      {"prefix": "2 + 2", "suffix": "4", "_id": "train.jsonl:5"}]


@pytest.mark.parametrize("text, ids, last", [
    (b'{"x": 1}\n\n  \n{"x": 2}', ["train.jsonl:1", "train.jsonl:4"], 2),  # blank lines count
    (b'{"x": 1}\r\n\r\n{"x": "2"}\r\n', ["train.jsonl:1", "train.jsonl:3"], "2"),
    (b'\xef\xbb\xbf{"x": 1}\n{"x": 2}\n', ["train.jsonl:1", "train.jsonl:2"], 2),  # with a BOM
    ('{"x": "a\u2028b\u0085c"}\n'.encode(), ["train.jsonl:1"], "a\u2028b\u0085c"),
])
def test_only_a_newline_ends_a_line(write, text, ids, last):
  examples = Jsonl(write(text))
  assert [examples[i]["_id"] for i in range(len(examples))] == ids
  assert examples[len(ids) - 1]["x"] == last


@pytest.mark.parametrize("bad, complaint", [
    ('{"image": "a.png"', "is not JSON: .*The line begins with '{\"image\""),
    ("{'image': 'a.png'}", "is not JSON"),
    (b"\xff\xfe{}", "is not JSON"),
    ("[" * 100_000, "is not JSON: maximum recursion"),
    ('["a.png"]', "is a JSON list, not an object"),
    ("null", "is a JSON NoneType, not an object"),
    ({"image": "a.png", "images": ["b.png"]}, "has both 'image' and 'images'"),
    ({"image": None}, "an image is a path, not None"),
    ({"image": ["a.png"]}, "an image is a path, not "),
    ({"images": "a.png"}, "'images' is a list of paths, not 'a.png'; one path goes under 'image'"),
    ({"images": None}, "'images' is a list of paths, not None"),
    ({"images": ["a.png", 3]}, "an image is a path, not 3"),
    ({"image": "c.png"}, "there is no image file .*c.png. Paths are relative to "),
    ({"image": ""}, "is a folder, not an image"),
    ('{"image": "a.png", "image": "b.png"}', "an object has 'image' twice"),
    ({"_rng": 3}, "has the key '_rng': keys that start with _ belong to the loader"),
    ({"image": "a\0.png"}, "is not the path of an image"),
    ({"image": "\ud800.png"}, "is not JSON: .*surrogates"),
    ({"video": 3}, "is a path, not 3"),
    ({"image": "a" * 5000}, "is not the path of an image: .*too long"),
])
def test_a_bad_line_is_named_before_training(write, bad, complaint):
  path = write({"image": "a.png"}, "", bad)
  with pytest.raises((ValueError, FileNotFoundError), match=f"train.jsonl, line 3.*{complaint}"):
    Jsonl(path)


def test_videos_are_files_or_lists_of_frames(write):
  examples = Jsonl(write({"video": "a.png"}, {"video": ["a.png", "b.png"], "prefix": "caption en"}))
  assert examples[0]["video"] == b"A" and examples[1]["video"] == [b"A", b"B"]


def test_lists_become_arrays_as_in_other_sources(write):
  example = Jsonl(write({
      "objects": {"bbox": [[0, 0, 1, 0.5], [0.1, 0, 1, 1]], "label": ["cat", "dog"]},
      "ids": [1, 2], "flags": [True, False], "none": [], "polygons": [[0, 1, 2], [3, 4]],
      "mask": {"size": [2, 2], "counts": "123"}, "mixed": [1, "a"], "people": [{"name": "x"}]}))[0]
  assert example["objects"]["bbox"].shape == (2, 4) and example["objects"]["bbox"].dtype == float
  assert example["objects"]["label"].tolist() == ["cat", "dog"]
  assert example["ids"].dtype == int and example["flags"].dtype == bool
  assert len(example["none"]) == 0
  assert [p.tolist() for p in example["polygons"]] == [[0, 1, 2], [3, 4]]
  assert example["mask"]["counts"] == "123" and example["mask"]["size"].tolist() == [2, 2]
  assert example["mixed"] == [1, "a"] and example["people"] == [{"name": "x"}]


def test_several_files_patterns_and_gzip(tmp_path):
  for folder, name, data in [("a", "x.jsonl", b'{"n": 1}\n{"n": 2}'), ("b", "x.jsonl", b'{"n": 3}'),
                             ("b", "y.jsonl.gz", gzip.compress(b'{"n": 4}\n\n{"n": 5}\n'))]:
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / name).write_bytes(data)
  examples = Jsonl([tmp_path / "b" / "*.jsonl*", tmp_path / "a" / "x.jsonl"])
  found = [examples[i] for i in range(len(examples))]
  assert [(e["n"], e["_id"]) for e in found] == [
      (3, "b/x.jsonl:1"), (4, "b/y.jsonl.gz:1"), (5, "b/y.jsonl.gz:3"), (1, "a/x.jsonl:1"),
      (2, "a/x.jsonl:2")]
  again = copy.copy(examples)  # as a loader's worker gets it
  assert again[1]["n"] == 4
  with pytest.raises(FileNotFoundError, match="No JSONL file matches .*z\\*"):
    Jsonl(tmp_path / "z*")
  (tmp_path / "b" / "y.jsonl.gz").write_bytes(gzip.compress(b'{"n": 4}' * 99)[:-9])
  with pytest.raises(ValueError, match="y.jsonl.gz is cut off"):
    Jsonl(tmp_path / "b" / "y.jsonl.gz")


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(foreign, "MAY_GROW", 1 << 16)
  (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(bytes(1 << 20)))
  with pytest.raises(ValueError, match="x.jsonl.gz would grow to more than"):
    Jsonl(tmp_path / "x.jsonl.gz")


def test_names_that_leave_the_folder_are_refused(write, tmp_path):
  outside = str(tmp_path / "outside.png")
  for name in ("../outside.png", outside, "/etc/passwd", "x/../a.png"):
    with pytest.raises(ValueError, match="line 1: image .* is outside of .*root="):
      Jsonl(write({"image": name}))
  assert Jsonl(write({"image": "outside.png"}), root=tmp_path)[0]["image"] == b"outside"
  assert Jsonl(write({"image": outside}), root=tmp_path)[0]["image"] == b"outside"
  for name in ("../outside.png", outside):
    assert Jsonl(write({"image": name}), allow=["outside"])[0]["image"] == b"outside"
  with pytest.raises(ValueError, match="has no 'outsde'. Did you mean 'outside'"):
    Jsonl(write({"image": "a.png"}), allow=["outsde"])


def test_links_are_refused(write, tmp_path):
  (tmp_path / "data/link.png").symlink_to(tmp_path / "outside.png")
  (tmp_path / "data/folder").symlink_to(tmp_path)
  for name in ("link.png", "folder/outside.png"):
    with pytest.raises(ValueError, match="line 1: .* is a symbolic link, to .*allow=.'links'"):
      Jsonl(write({"image": name}))
    assert Jsonl(write({"image": name}), allow=["links"])[0]["image"] == b"outside"
  path = write({"image": "a.png"})
  (tmp_path / "elsewhere").symlink_to(tmp_path / "data")  # the folder itself may be one
  assert Jsonl(tmp_path / "elsewhere" / path.name)[0]["image"] == b"A"


def test_urls_are_refused_or_downloaded_once(write, tmp_path, monkeypatch):
  monkeypatch.setenv("BIG_VLM_CACHE", str(tmp_path / "cache"))
  handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "data")
  with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://localhost:{server.server_port}"
    path = write({"image": f"{url}/a.png"}, {"image": f"{url}/c.png"})
    with pytest.raises(ValueError, match="line 1: .*is a URL. Download"):
      Jsonl(path)
    examples = Jsonl(path, allow=["urls"])
    assert examples[0]["image"] == b"A"
    with pytest.raises(OSError, match="line 2: cannot read http.*c.png: .*404"):
      examples[1]
    server.shutdown()
  assert examples[0]["image"] == b"A"  # it is kept


def test_a_long_check_says_how_far_it_is(write, monkeypatch, capsys):
  monkeypatch.setattr(jsonl, "NOTE", -1)
  Jsonl(write({"a": 1}, {"a": 2}))
  assert "checked 1 of 2 lines of " in capsys.readouterr().out


def test_files_that_cannot_be_read(write, tmp_path):
  for content in (b"", b"\n \n\r\n"):
    with pytest.raises(ValueError, match="has no lines"):
      Jsonl(write(content))
  os.mkfifo(tmp_path / "pipe")
  for path, reason in [(tmp_path / "no.jsonl", "No such file"), (tmp_path, "Is a directory"),
                       (tmp_path / "pipe", "It is a pipe or a device"),
                       (pathlib.Path("/dev/zero"), "It is a pipe or a device")]:
    with pytest.raises(FileNotFoundError, match=f"Cannot read the JSONL file {path}: {reason}"):
      Jsonl(path)


def test_a_file_that_changes_after_it_was_opened_is_an_error_of_its_lines(write):
  path = write({"a": 1}, {"a": 2})
  data = Jsonl(path)
  before = data.fingerprint()
  assert copy.deepcopy(data)[1]["a"] == 2  # opened again, as in a worker
  assert Jsonl(write({"a": 1}, {"a": 3})).fingerprint() != before
  os.truncate(path, 12)
  assert data[0]["a"] == 1
  with pytest.raises(ValueError, match="line 2 cannot be read: the file was cut short"):
    data[1]
  with pytest.raises(ValueError, match="was changed after it was opened"):
    copy.deepcopy(data)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all files")
def test_no_permission(write):
  path = write({"x": 1})
  path.chmod(0)
  with pytest.raises(FileNotFoundError, match="Permission denied"):
    Jsonl(path)


LINE = b'{"image": "a.png", "prefix": "detect cat", "boxes": [[0.5, 1e-3]], "\\u00e9": {"n": null}}'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["a.png", "..", "/", ".", "a.png/x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner,
                                                                max_size=2), max_leaves=5)


@settings(max_examples=100, deadline=None)
@given(line=st.builds(lambda key, value: json.dumps({key: value}).encode(),
                      st.sampled_from(["image", "images", "video"]), JSON))
def test_any_json_gives_an_example_or_a_clear_error(tmp_path_factory, line):
  assert damaged(tmp_path_factory, [line]) in ([], [0])


def test_2000_damaged_lines_give_an_example_or_a_clear_error(tmp_path_factory):
  rng = np.random.default_rng(0)
  bad = damaged(tmp_path_factory, [mutated(rng) for _ in range(2000)])
  assert 1000 < len(bad) < 2000  # some are harmless


def mutated(rng):
  line = bytearray(LINE)
  for _ in range(rng.integers(1, 5)):
    start = rng.integers(len(line) + 1)
    line[start:start + rng.integers(6)] = rng.bytes(rng.integers(4))
  return bytes(line).replace(b"\n", b"")


def damaged(tmp_path_factory, lines):
  """Indices of the lines with a problem; asserts that each says where, and the others read."""
  folder = tmp_path_factory.getbasetemp() / "damaged"
  folder.mkdir(exist_ok=True)
  (folder / "a.png").write_bytes(b"A")
  (folder / "x.jsonl").write_bytes(b"\n".join([*lines, LINE]))
  examples = Jsonl(folder / "x.jsonl", check=False)
  bad = dict(examples.problems())
  for index, error in bad.items():
    assert f"{examples.where(index)}" in str(error) and len(str(error)) < 2000
  for index in set(range(len(examples))) - set(bad):
    assert isinstance(examples[index], dict)
  return list(bad)
