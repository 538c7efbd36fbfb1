"""Every reader of annotations takes damaged files, or refuses them in one sentence.

  BIG_VLM_FUZZ=20000 .venv/bin/python -m pytest tools/importers/fuzz_test.py -s
"""
import pytest

from big_vlm.data import jsonl
from tests import mutations, scenes
from tools import import_boxes, jsonl_text

MADE = ("coco", "yolo", "yolo_polygons", "voc", "labelme", "class_masks")
PIECES = [b"", b"\0", b"\n", b"\xff\xfe", b'"', b"[" * 3000, b"1e999", b"-1", b"null", b"NaN",
          b"9" * 5000, b"../../etc/passwd", b"\x1b[2J", b"\xe2\x80\xae", b"&a *a", b"<!DOCTYPE a>",
          b"1000000000000", b"{", b"</object>", b"0.5 0.5", b"\xc3", b"IDAT"]
FILES = {"coco": "coco.json", "voc": "Annotations/a.xml", "labelme": "a.json",
         "class_masks": "masks/a.png"}


@pytest.mark.parametrize("made", (*MADE, "jsonl"))
def test_no_damage_breaks_a_reader(tmp_path, capsys, made):
  if made == "jsonl":
    scenes.run(capsys, *scenes.coco(tmp_path), tmp_path / "a.jsonl")
    files = ["a.jsonl"]
  else:
    args = getattr(scenes, made)(tmp_path)
    files = [FILES[made]] if made in FILES else ["data.yaml", "train/labels/a.txt"]
  clean = {name: (tmp_path / name).read_bytes() for name in files}

  def attempt(rng):
    name = files[rng.integers(len(files))]
    (tmp_path / name).write_bytes(mutations.mutated(clean[name], rng, PIECES))
    try:
      if made == "jsonl":
        source = jsonl.Jsonl(tmp_path / name, check=False)
        for i in range(len(source)):
          list(jsonl_text.problems(source.line(i)))
          list(jsonl_text.mask_problems(source.line(i), (40, 60)))
          source[i]
      else:
        import_boxes.main([*map(str, args), str(tmp_path / "o.jsonl")])
      return "read"
    finally:
      (tmp_path / name).write_bytes(clean[name])
  done = mutations.attack(attempt, 25, capsys, made)
  assert min(done["read"], done["refused"]) > 0
