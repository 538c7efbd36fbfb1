import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from big_vlm.data import source
from big_vlm.data.jsonl import Jsonl


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
               {"images": ["a.png", "b.png"], "boxes": [[0, 0, 1, 1]], "note": None},
               {"images": ["b.png"]},
               {"images": [], "prefix": "text only"},
               {"prefix": "2 + 2", "suffix": "4"})
  examples = source.get("jsonl", path=str(path))
  assert list(examples[i] for i in range(len(examples))) == [
      {"image": b"A", "prefix": "caption en", "suffix": "a cat", "_id": "train.jsonl:1"},
      {"image": [b"A", b"B"], "boxes": [[0, 0, 1, 1]], "note": None, "_id": "train.jsonl:2"},
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
    ({"image": ""}, "there is no image file"),
    ({"image": "a\0.png"}, "is no path of an image"),
    ({"image": "\ud800.png"}, "is no path of an image"),
    ({"image": "a" * 5000}, "is no path of an image: .*too long"),
])
def test_a_bad_line_is_named_before_training(write, bad, complaint):
  path = write({"image": "a.png"}, "", bad)
  with pytest.raises((ValueError, FileNotFoundError), match=f"train.jsonl, line 3.*{complaint}"):
    Jsonl(path)


def test_images_outside_of_the_folder_need_root(write, tmp_path):
  (tmp_path / "data/link.png").symlink_to(tmp_path / "outside.png")
  for name in ("../outside.png", str(tmp_path / "outside.png"), "link.png", "/etc/passwd"):
    with pytest.raises(ValueError, match="line 1: image .* lies outside of .*root="):
      Jsonl(write({"image": name}))
  for name in ("data/../outside.png", str(tmp_path / "outside.png"), "data/link.png"):
    assert Jsonl(write({"image": name}), root=tmp_path)[0]["image"] == b"outside"
  with pytest.raises(ValueError, match="lies outside of"):
    Jsonl(write({"image": "../../x.png"}), root=tmp_path / "data")


def test_links_within_the_folder_are_fine(write, tmp_path):
  (tmp_path / "data/link.png").symlink_to("a.png")
  path = write({"image": "link.png"})
  (tmp_path / "elsewhere").symlink_to(tmp_path / "data")
  assert Jsonl(path)[0]["image"] == Jsonl(tmp_path / "elsewhere/train.jsonl")[0]["image"] == b"A"


def test_files_that_cannot_be_read(write, tmp_path):
  for content in (b"", b"\n \n\r\n"):
    with pytest.raises(ValueError, match="has no lines"):
      Jsonl(write(content))
  for path, reason in [(tmp_path / "no.jsonl", "No such file"), (tmp_path, "Is a directory")]:
    with pytest.raises(FileNotFoundError, match=f"Cannot read the JSONL file {path}: {reason}"):
      Jsonl(path)


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


@st.composite
def mutated(draw):
  line = bytearray(LINE)
  for _ in range(draw(st.integers(1, 4))):
    start = draw(st.integers(0, len(line)))
    line[start:start + draw(st.integers(0, 5))] = draw(st.binary(max_size=3))
  return bytes(line)


@settings(max_examples=300, deadline=None)
@given(line=mutated() | st.builds(
    lambda key, value: json.dumps({key: value}).encode(), st.sampled_from(["image", "images"]),
    JSON))
def test_a_damaged_line_gives_an_example_or_a_clear_error(tmp_path_factory, line):
  folder = tmp_path_factory.getbasetemp() / "damaged"
  folder.mkdir(exist_ok=True)
  (folder / "a.png").write_bytes(b"A")
  (folder / "x.jsonl").write_bytes(LINE + b"\n" + line)
  try:
    examples = Jsonl(folder / "x.jsonl")
    assert all(isinstance(examples[i], dict) for i in range(len(examples)))
  except (ValueError, OSError) as e:
    assert "x.jsonl, line " in str(e)
