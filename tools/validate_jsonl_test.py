import json
import pathlib
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pp.builder import get_preprocess_fn
from pp.context import Context
from pp.tokenizer import get_tokenizer
from tools import contact_sheet, example_page, jsonl_text, validate_jsonl
from tools.importers.records import Annotation

GOLDEN = pathlib.Path(__file__).parent.parent / "tests" / "golden"
MODEL = str(GOLDEN / "tokenizers" / "gemma" / "tokenizer.model")
BOX = "<loc0100><loc0200><loc0800><loc0900>"
GOOD = {"image": "a.png", "prefix": "caption en", "suffix": "a cat"}


@pytest.fixture
def write(tmp_path):
  """A function (lines, name) -> the path of a JSONL beside a.png, b.png and others."""
  for i, name in enumerate("abc"):
    Image.new("RGB", (60, 40), (80 * i, 9, 9)).save(tmp_path / f"{name}.png")
  (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
  (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
  (tmp_path / "text.png").write_text("not an image")

  def write(lines, name="train.jsonl"):
    path = tmp_path / name
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    return str(path)
  return write


def reasons(example):
  return [f"{kind} {reason}" for kind, reason in jsonl_text.problems({**GOOD, **example})]


@pytest.mark.parametrize("example", [
    {},
    {"prefix": "detect cat ; dog", "suffix": f"{BOX} cat ; {BOX} dog"},
    {"prefix": "detect cat", "suffix": f"{BOX} cat ; {BOX} cat"},
    {"prefix": "detect cat", "suffix": ""},  # there is none in the picture
    {"prefix": "detect all classes", "suffix": f"{BOX} cat"},
    {"prefix": "segment cat", "suffix": f"{BOX}{'<seg001>' * 16} cat"},
    {"prefix": "<image>caption en"},  # as transformers' prompts begin
    {"prefix": "the cat on the left", "suffix": BOX + "<seg127>" * 16},  # as RefCOCO's
    {"prefix": f"caption {BOX}", "suffix": "a cat < 3 years; <location> unknown"},
    {"suffix": "x", "objects": {"bbox": [[0, 0, 1, 1]], "label": ["cat"], "mask": [None]}},
    {"boxes": [[0.1, 0.2, 0.3, 0.4]], "bbox": [0, 0.5, 0.5, 1]},
])
def test_what_is_sound(example):
  assert not reasons(example) and not list(jsonl_text.mask_problems(example, None))


@pytest.mark.parametrize("example, complaint", [
    ({"prefix": 3}, "text 'prefix' is 3, not a string"),
    ({"suffix": ["a", "b"]}, 'text \'suffix\' is ["a", "b"], not a string: one answer to a line'),
    ({"suffix": " "}, "text 'suffix' is empty"),
    ({"suffix": "<loc0001><loc0002><loc0003> cat"}, "suffix: 3 locations before 'cat': a box is"),
    ({"suffix": BOX * 2 + " cat"}, "8 locations before 'cat'"),
    ({"suffix": "<loc0001><loc0002><loc1024><loc0004>"}, "'<loc1024>' is none of <loc0000> to"),
    ({"suffix": "<loc1><loc2><loc3><loc4> cat"}, "'<loc1>' and 3 more are none of"),
    ({"suffix": "<LOC0001>"}, "'<LOC0001>' is none of"),
    ({"suffix": "<loc 0001>"}, "'<loc 0001>' is none of"),
    ({"suffix": BOX + "<seg001>" * 15}, "15 mask codes at the end: a mask is 16"),
    ({"suffix": "<seg001>" * 16}, "mask codes without the four locations"),
    ({"suffix": BOX + "<seg128>" * 16}, "'<seg128>' and 15 more are none of"),
    ({"suffix": "<loc0900><loc0200><loc0800><loc0900>"}, "has ymin > ymax"),
    ({"suffix": "<loc0100><loc0950><loc0800><loc0900>"}, "has xmin > xmax"),
    ({"prefix": "caption <loc0001>"}, "prefix: 1 locations at the end"),
    ({"prefix": "detect cat ; dog", "suffix": f"{BOX} cat ; {BOX} dgo"},
     "the label 'dgo' is not asked for in the prefix, which has 'cat ; dog'. Did you mean 'dog'?"),
    ({"prefix": "detect cat", "suffix": f"{BOX} cat {BOX} cat"}, "2 boxes without ' ; ' between"),
    ({"prefix": "detect cat", "suffix": f"cat {BOX}"}, "'cat' stands before its box"),
    ({"prefix": "detect cat", "suffix": BOX}, f"the box {BOX} has no label"),
    ({"prefix": "detect cat", "suffix": "cat"}, "no box before 'cat'"),
    ({"prefix": "detect cat", "suffix": f"{BOX} cat ; "}, "an empty part beside ';'"),
    ({"objects": {"bbox": [[10, 20, 30, 40]], "label": ["x"]}}, "[10, 20, 30, 40], not in 0..1"),
    ({"objects": {"bbox": [[0, .9, 1, .1]], "label": ["x"]}}, "the order is ymin, xmin, ymax,"),
    ({"objects": {"bbox": [[0, 1]], "label": ["x"]}}, "objects/bbox 0 is [0, 1], not four numbers"),
    ({"objects": {"bbox": [[0, 0, 1, float("nan")]], "label": ["x"]}}, "not four numbers"),
    ({"objects": {"bbox": [], "label": ["x"]}}, "objects has 0 of 'bbox', 1 of 'label'"),
    ({"objects": {"bbox": [[0, 0, 1, 1]], "label": ["a;b"]}}, "objects/label 0 is 'a;b'"),
    ({"objects": [{"bbox": [0, 0, 1, 1]}]}, "fields objects is a dict of lists"),
    ({"boxes": [[0, 0, 100, 100]]}, "boxes 0 is [0, 0, 100, 100], not in 0..1"),
    ({"suffix": "a cat<eos>"}, "control suffix: '<eos>' in 'a cat<eos>'"),
    ({"prefix": "<bos>caption en"}, "control prefix: '<bos>'"),
    ({"prefix": "caption <image> en"}, "control prefix: '<image>'"),
    ({"prefix": "caption en\n"}, r"newline prefix: 'caption en\n'"),
    ({"prefix": "caption en\n\n"}, r"ends prefix: 'caption en\n'"),
    ({"prefix": "caption en "}, "ends prefix: 'caption en '"),
    ({"suffix": " a cat"}, "ends suffix: ' a cat'"),
])
def test_what_is_wrong(example, complaint):
  assert any(complaint in reason for reason in reasons(example)), reasons(example)


def test_a_misspelled_field_is_told_where_the_right_one_is_missing():
  names = lambda **line: [text for kind, text in jsonl_text.problems(line) if kind == "name"]
  assert names(img="a.png", prefx="ocr", suffix="x") == [
      "the field 'img'. Did you mean 'image'?", "the field 'prefx'. Did you mean 'prefix'?"]
  assert not names(image="a.png", image_id=3, prefix="ocr", suffix="x", suffixes=["x"])


def test_a_missing_prefix_is_one_problem_unless_the_ops_write_it():
  assert list(jsonl_text.problems({"suffix": "x"})) == [
      ("text", "'prefix' is missing; there are 'suffix'")]
  assert not list(jsonl_text.problems({"objects": {"bbox": [], "label": []}}))


@pytest.mark.parametrize("mask, complaint", [
    ([[1, 1, 50, 1, 50, 30]], None), ([[1, 1, 60.5, 1, 50, 40.5]], None),
    ({"size": [40, 60], "counts": "PPd0"}, None),
    ([[0.1, 0.1, 0.5, 0.1, 0.5, 0.3]], "these are pixels, not fractions"),
    ([[1, 1, 70, 1, 50, 30]], "leaves the image of 60x40"),
    ([[1, 1, 50, 1]], "not [x, y, x, y, x, y, ...]"),
    ({"size": [60, 40], "counts": "PPd0"}, "is of [60, 40], the image of [40, 60] rows"),
    ({"counts": "PPd0"}, "is not a run-length code"), ("mask.png", "not a list of polygons"),
])
def test_masks(mask, complaint):
  found = jsonl_text.mask_problem(mask, (40, 60))
  assert found is None if complaint is None else complaint in found


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=9) | st.sampled_from(
    [BOX, "<loc0001>", "<seg001>" * 16, ";", "detect cat", "cat"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["prefix", "suffix", "objects", "bbox", "label", "mask", "size", "counts"]), inner),
    max_leaves=12).filter(lambda x: isinstance(x, dict)))
@settings(max_examples=200, deadline=None)
def test_no_object_breaks_the_checks(example):
  assert all(kind in jsonl_text.KINDS for kind, _ in jsonl_text.problems(example))
  assert all(isinstance(r, str) for r in jsonl_text.mask_problems(example, (4, 6)))
  assert all(isinstance(a, Annotation) for a in contact_sheet.annotations_of(example, (4, 6)))


WRONG = [
    GOOD, "{'image': 1}", {**GOOD, "image": "none.png"}, {**GOOD, "image": "../a.png"},
    {**GOOD, "image": "cut.png"}, {**GOOD, "images": ["a.png", "text.png"], "image": None},
    {**GOOD, "prefix": "captoin en"}, GOOD, {**GOOD, "image": "copy.png", "suffix": "a dog"},
    {"prefix": "2 + 2", "suffix": "4"}, {**GOOD, "image": "b.png", "suffix": "word " * 60},
    {"images": ["b.png", "c.png"], "prefix": "answer en same?", "suffix": "no"},
    {"image": "b.png", "prefix": "detect cat", "suffix": f"{BOX} dog"},
    {"image": "b.png", "prefix": "detect x", "suffix": f"{BOX} x", "objects": {
        "bbox": [[.1, .2, .8, .9]], "label": ["x"], "mask": [[[1, 1, 99, 1, 50, 30]]]}}]
del WRONG[5]["image"]


def test_every_problem_is_found_with_its_line(write):
  found = validate_jsonl.validate(write(WRONG), tokenizer=MODEL, text_len=64,
                                  against=[write([{"image": "c.png"}], "val.jsonl")])
  lines = {kind: [i + 1 for i, _ in some] for kind, some in found.problems.items()}
  assert lines == {"line": [2], "file": [3, 4], "image": [5, 6], "task": [7, 10], "repeated": [8],
                   "copies": [9], "contradiction": [9], "cut": [11], "leak": [12],
                   "locations": [13], "fields": [14], "ends": [11]}
  texts = {kind: some[0][1] for kind, some in found.problems.items()}
  assert texts["repeated"].endswith("train.jsonl, line 1")
  assert re.search(r"c.png is an image of .*val.jsonl, line 1", texts["leak"])
  assert "text_len 64: 60 are left of the answer's" in texts["cut"]
  assert found.failed and found.files == 6


def test_videos_and_their_frames(write, tmp_path):
  frames = [Image.new("RGB", (32, 24), (9 * i, 0, 0)) for i in range(6)]
  frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:])
  (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x20ftypisom" + b"\0" * 99)
  text = {"prefix": "caption en", "suffix": "red"}
  found = validate_jsonl.validate(write([
      {"video": "clip.gif", **text}, {"video": ["a.png", "b.png"], **text},
      {"video": "cut.mp4", **text}, {"video": ["a.png", "cut.png"], **text}]))
  assert [i for i, _ in found.problems.pop("image")] == [2, 3] and not found.problems
  card = contact_sheet.card(found, 0, [])
  assert [p.image.shape for p in card.pictures] == [(24, 32, 3)] * 4
  red = [p.image[0, 0, 0] for p in card.pictures]
  assert red == sorted(red) and red[0] < red[-1]


def test_warnings_and_notes_are_no_errors(write, capsys):
  validate_jsonl.main([write([GOOD, GOOD, {**GOOD, "prefix": "Caption en"}])])
  said = capsys.readouterr().out
  assert re.search(r"warning  lines that are there twice: 1\n .*line 2: is the same as", said)
  assert "1 x, first in" in said and "Did you mean 'caption'?" in said
  assert "33% of the lines" in said
  assert "lengths in words" in said and "--tokenizer TOKENIZER.model counts" in said
  assert said.rstrip().endswith("3 of 3 lines, 1 files: 2 warnings")


def test_the_command_fails_on_errors_and_shows_some_or_all(write, capsys):
  path = write([{**GOOD, "image": f"{i}.png"} for i in range(30)])
  for flags, shown in [([], 20), (["--all"], 30), (["--limit", "5"], 5)]:
    with pytest.raises(SystemExit) as exit:
      validate_jsonl.main([path, *flags])
    said = capsys.readouterr().out
    assert exit.value.code == 1 and said.count("there is no image file") == shown
    assert ("and 10 more (--all shows them)" in said) == (not flags)


def test_lengths_are_those_of_the_pipeline(write):
  """The text_len that is asked for holds the longest row with its eos, and one less cuts it."""
  lines = [{"prefix": "ocr", "suffix": "7" * (10 + 3 * i)} for i in range(10)]
  path, name = write(lines), f"sp({MODEL!r}, tokensets=('loc', 'seg'))"
  table = validate_jsonl.lengths_table(validate_jsonl.validate(path, tokenizer=MODEL, text_len=20))
  needed = int(re.search(r"; (\d+) would hold 99.9 % of them", table)[1])
  assert re.search(rf"^row .* {needed}$", table, re.MULTILINE)
  for text_len, whole in ((needed, True), (needed - 1, False)):
    row = get_preprocess_fn("text_layout", Context(name, text_len))(lines[-1])
    assert (row["text"][row["mask_loss"] == 1][-1] == get_tokenizer(name).eos_token) == whole
    found = validate_jsonl.validate(path, tokenizer=MODEL, text_len=text_len)
    said = "holds every line" if whole else "cuts 10.00% of the lines"
    assert f"text_len {text_len} {said}" in validate_jsonl.lengths_table(found)
    assert [i for i, _ in found.problems.get("cut", [])] == [] if whole else [9]


@pytest.fixture
def config(write, tmp_path):
  """A config file over lines whose texts its pp writes, with arguments of validate_jsonl for it."""
  box, texts = {"bbox": [[0.1, 0.2, 0.8, 0.9]], "label": ["cat"]}, {"q": "how many?", "a": "7"}
  boxes = write([{"image": "a.png", "objects": box}, {"image": "b.png", "objects": {"bbox": []}},
                 {"image": "cut.png", "objects": box}], "boxes.jsonl")
  asked = write([{"image": "a.png", **texts}, {"image": "b.png", **texts, "a": "7" * 30}],
                "asked.jsonl")
  pp = "flatten|decode|{}|resize|text_layout".format
  path = tmp_path / "config.py"
  path.write_text(f"""from configs import common
def get_config():
  c = common.train(tokenizer="sp({MODEL!r}, tokensets=('loc', 'seg'))", text_len=24)
  c.model.img = dict(image_size=16)
  c.input.mixture = [
      dict(name="boxes", data=dict(name="jsonl", path={boxes!r}), pp={pp("detect")!r}),
      dict(name="asked", data=dict(name="jsonl", path={asked!r}), pp={
          pp("strfmt('answer en {q}', outkey='prefix')|copy('a', 'suffix')")!r})]
  return c
""")
  return ["--config", str(path)]


def test_a_config_says_files_tokenizer_text_len_and_how_texts_are_written(config, capsys):
  def findings(*flags):
    with pytest.raises(SystemExit):
      validate_jsonl.main([*config, *flags])
    return re.split(r"\n== ", capsys.readouterr().out)[1:]
  boxes, asked = findings()
  assert boxes.startswith("boxes: ") and asked.startswith("asked: ")
  said = re.findall(r"boxes.jsonl, line (\d): (.*)", boxes)
  assert [line for line, _ in said] == ["3", "2"]  # the broken image is said once
  assert said[1][1].startswith("pp op `detect` failed on example boxes.jsonl:2: ")
  assert "text_len 24 holds every line" in boxes
  assert "line 2" in asked and "do not fit text_len 24" in asked
  assert "text_len 64 holds every line" in findings("--config.text_len=64")[1]


@pytest.mark.parametrize("more, complaint", [
    (["x.jsonl"], "path: the config says it"), (["--text_len=9"], "text_len: the config says it")])
def test_what_a_config_says_is_not_given_twice(config, more, complaint, capsys):
  with pytest.raises(SystemExit):
    validate_jsonl.main([*config, *more])
  assert complaint in capsys.readouterr().err


def test_a_tokenizer_that_splits_locations(write):
  path = write([{"image": "b.png", "prefix": "detect x", "suffix": f"{BOX} x"}])
  found = validate_jsonl.validate(path, tokenizer=f"sp({MODEL!r})")
  (_, text), = found.problems["tokenizer"]
  assert text.startswith("<loc0100>, <loc0200>, <loc0800>, <loc0900> are read as ordinary")
  assert not validate_jsonl.validate(path, tokenizer=f"sp({MODEL!r}, tokensets=('loc',))").failed


def test_root_allow_and_several_files(write, tmp_path):
  (tmp_path / "lists").mkdir()
  for name in ("1", "2"):
    (tmp_path / "lists" / f"{name}.jsonl").write_text(json.dumps(GOOD))
  pattern = str(tmp_path / "lists" / "*.jsonl")
  write([])
  assert validate_jsonl.validate(pattern).problems["file"]
  found = validate_jsonl.validate(pattern, root=str(tmp_path))
  assert list(found.problems) == ["repeated"] and found.count == 2
  path = tmp_path / "lists" / "3.jsonl"
  path.write_text(json.dumps({**GOOD, "image": "../a.png"}))
  assert "is outside" in validate_jsonl.validate(str(path)).problems["file"][0][1]
  assert not validate_jsonl.validate(str(path), allow=["outside"]).problems


def test_the_sheet_is_one_escaped_file_with_problems_first(write, tmp_path, capsys):
  evil = {**GOOD, "image": "b.png", "prefix": '<script>alert("x")</script>', "suffix": "سلام &amp;"}
  lines = [evil, *WRONG, *({**GOOD, "suffix": f"n {i}"} for i in range(30))]
  with pytest.raises(SystemExit):
    validate_jsonl.main([write(lines), "--html", str(tmp_path / "sheet.html"), "--sample", "9"])
  page = (tmp_path / "sheet.html").read_text()
  assert "default-src 'none'" in page and not re.search(r"(src|href)=\"(?!data:)", page)
  assert page.count("<script>") == 1 and "&lt;script&gt;alert(&#34;x&#34;)" in page
  assert "سلام &amp;amp;" in page
  levels = re.findall(r'<article class="card (\w*)"', page)
  order = ["error", "warning", "note", ""]
  assert [order.index(x) for x in levels if x not in ("note", "")] == sorted(
      order.index(x) for x in levels if x not in ("note", ""))
  assert levels.count("") + levels.count("note") == 9
  assert "9 of the " in page and '<option value="image">' in page


@pytest.mark.parametrize("annotation, shape", [
    (Annotation("cat", (.25, .5, .75, 1)), '<rect x="80.0" y="20.0" width="80.0" '),
    (Annotation(mask=[[0, 0, .5, 0, .5, 1]]), 'points="0.0,0.0 80.0,0.0 80.0,80.0"'),
    (Annotation(mask={"size": [2, 2], "counts": [1, 2, 1]}), '<image href="data:image/png'),
    (Annotation("<b>" * 20, (.1, .1, .2, .2)), "&lt;b&gt;&lt;b&gt;"),
])
def test_shapes_are_drawn_in_the_shrunk_picture(tmp_path, annotation, shape):
  image = np.zeros((200, 400, 3), np.uint8)
  card = example_page.Card("one", [example_page.Picture(image, [annotation])])
  page = example_page.write_examples(tmp_path / "p.html", "t", "s", [card]).read_text()
  assert 'viewBox="0 0 160 80"' in page and shape in page


def test_a_page_that_cannot_be_written(tmp_path):
  (tmp_path / "file").write_text("in the way")
  with pytest.raises(OSError, match="Cannot write .*p.html"):
    example_page.write_examples(tmp_path / "file" / "p.html", "t", "s", [])


def test_sparse_files_are_refused_at_once(tmp_path):
  """A file of 50 GB that takes no room on the disk, as the data and as an image of them."""
  for name in ("huge.jsonl", "huge.png"):
    with (tmp_path / name).open("wb") as file:
      file.truncate(50 * 10**9)
  began = time.process_time()
  with pytest.raises(ValueError, match="huge.jsonl has a line of more than 64 MiB at byte 0"):
    validate_jsonl.validate(str(tmp_path / "huge.jsonl"))
  lines = tmp_path / "a.jsonl"
  lines.write_text('{"image": "huge.png", "prefix": "caption en", "suffix": "a"}')
  (_, text), = validate_jsonl.validate(str(lines)).problems["image"]
  assert "MiB are more than the 256 MiB allowed" in text and time.process_time() - began < 2


def test_pictures_that_exif_turns_are_counted(tmp_path, capsys):
  exif = Image.Exif()
  exif[0x112] = 6
  Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
  (tmp_path / "a.jsonl").write_text('{"image": "a.jpg", "prefix": "caption en", "suffix": "a"}')
  validate_jsonl.main([str(tmp_path / "a.jsonl")])
  said = capsys.readouterr().out
  assert "images with an EXIF orientation" in said and "a.jpg has the orientation 6" in said
  assert "1 note" in said


def test_transparent_pictures_are_counted(tmp_path):
  for name, alpha in (("clear", 0), ("opaque", 255)):
    Image.new("RGBA", (6, 4), (9, 9, 9, alpha)).save(tmp_path / f"{name}.png")
  palette = Image.new("P", (6, 4))
  palette.putpalette([0, 0, 0, 255, 255, 255])
  palette.save(tmp_path / "palette.png", transparency=0)
  (tmp_path / "a.jsonl").write_text("".join(json.dumps({**GOOD, "image": f"{name}.png"}) + "\n"
                                            for name in ("clear", "opaque", "palette")))
  found = validate_jsonl.validate(str(tmp_path / "a.jsonl")).problems
  assert [i for i, _ in found["transparent"]] == [0, 2]
