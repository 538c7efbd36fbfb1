"""tools.index and tools.search on a tiny SigLIP."""
import json
import sys

import numpy as np
import pytest
from PIL import Image

import big_vlm
from big_vlm import vector_index
from big_vlm.vlm import VLM
from tools import index, search

TOWERS = {"img": {"variant": "tiny"}, "txt": {"variant": "text_tiny", "length": 16}}
COUNT = 10


@pytest.fixture(scope="module")
def model(tokenizer, tmp_path_factory):
  path = tmp_path_factory.mktemp("model") / "siglip"
  VLM.from_config(TOWERS, tokenizer).export(path, "native")
  return str(path)


@pytest.fixture
def photos(tmp_path, rng, monkeypatch):
  folder = tmp_path / "photos"
  (folder / "more").mkdir(parents=True)
  for i in range(COUNT):
    name = f"{'more/' * (i > 6)}{i}.png"
    Image.fromarray(rng.integers(0, 256, (16, 20, 3)).astype(np.uint8)).save(folder / name)
  monkeypatch.setattr(index, "BATCH", 4)
  return folder


def vectors(folder):
  return np.array(vector_index.Index(folder).vectors)


def test_index_and_search(photos, model, tmp_path, capsys):
  out = tmp_path / "index"
  index.main([str(photos), "--model", model, "--out", str(out)])
  assert "10 images are in" in capsys.readouterr().out
  vlm = big_vlm.from_preset(model)
  paths = sorted(photos.rglob("*.png"))
  np.testing.assert_allclose(vectors(out), vlm.embed(paths), atol=1e-6)
  asked = [str(out), "ocr", "caption en", "--count", "3"]
  search.main([*asked, "--out", str(tmp_path / "found.jsonl")])
  printed = capsys.readouterr().out
  assert printed.splitlines()[0] == "ocr" and printed.count(".png") == 6
  rows = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
  cosines = vlm.embed(texts="ocr") @ vlm.embed(paths).T
  assert [r["path"] for r in rows[0]["results"]] == [
      str(paths[i]) for i in np.argsort(-cosines[0])[:3]]
  assert rows[0]["results"][0]["cosine"] == pytest.approx(cosines.max(), abs=1e-4)
  search.main([str(out), "--image", str(photos / "3.png"), "--count", "1"])
  assert "  1.0000  " in (printed := capsys.readouterr().out) and "3.png" in printed


def test_a_killed_run_resumes_to_the_same_index(photos, model, tmp_path, monkeypatch, capsys):
  index.main([str(photos), "--model", model, "--out", str(tmp_path / "whole")])
  run = [str(photos), "--model", model, "--out", str(tmp_path / "killed")]
  read, asked = index._read, []

  def killed(requests, number, on_error):
    asked.append(number)
    if number == 6:
      raise KeyboardInterrupt
    return read(requests, number, on_error)
  with monkeypatch.context() as patch:
    patch.setattr(index, "_read", killed)
    with pytest.raises(KeyboardInterrupt):
      index.main(run)
  assert not (tmp_path / "killed").exists() and (tmp_path / "killed.partial").exists()
  with monkeypatch.context() as patch:
    patch.setattr(index, "_read", lambda *args: (asked.append(args[1]), read(*args))[1])
    index.main(run)
  assert asked == [*range(7), *range(4, 10)]  # the first batch is not read again
  np.testing.assert_array_equal(vectors(tmp_path / "killed"), vectors(tmp_path / "whole"))
  assert not (tmp_path / "killed.partial").exists()
  with pytest.raises(ValueError, match="is there already"):
    index.main(run)


def test_lines_and_what_cannot_be_read(photos, model, tmp_path, capsys):
  (photos / "bad.png").write_bytes(b"no picture")
  names = ["0.png", "bad.png", "more/8.png"]
  lines = "".join(json.dumps({"image": n, "prefix": "caption en"}) + "\n" for n in names)
  (photos / "my.jsonl").write_text(lines)
  run = [str(photos / "my.jsonl"), "--model", model, "--out", str(tmp_path / "index")]
  with pytest.raises(ValueError, match="my.jsonl, line 2 .bad.png."):
    index.main(run)
  (tmp_path / "index.partial").unlink()
  index.main([*run, "--on_error", "skip"])
  assert "1 of 3 images are skipped" in capsys.readouterr().out
  found = vector_index.Index(tmp_path / "index")
  assert [found.item(i)["image"] for i in range(2)] == ["0.png", "more/8.png"]
  assert found.item(1)["path"] == str(photos / "more/8.png")


def test_another_model_is_refused_by_name(photos, model, tokenizer, tmp_path):
  out = tmp_path / "index"
  index.main([str(photos), "--model", model, "--out", str(out)])
  VLM.from_config(TOWERS, tokenizer, seed=1).export(tmp_path / "other", "native")
  with pytest.raises(ValueError, match=f"made by SigLIP .*{model}.*, and .*other.* gives other"):
    search.main([str(out), "ocr", "--model", str(tmp_path / "other")])
  big_vlm.from_preset(model).export(tmp_path / "hf", "hf")
  search.main([str(out), "ocr", "--model", str(tmp_path / "hf")])  # the same one, elsewhere


def test_a_model_without_a_text_tower_searches_by_image(photos, tmp_path, capsys):
  out = tmp_path / "index"
  index.main([str(photos), "--model", "digits", "--out", str(out)])
  with pytest.raises(ValueError, match="no text tower: only images"):
    search.main([str(out), "ocr"])
  search.main([str(out), "--image", str(photos / "0.png"), "--count", "99"])
  assert capsys.readouterr().out.count(".png\n") == COUNT + 1  # the query and all


@pytest.mark.parametrize("args, words", [
    (["INDEX"], "give queries"), (["INDEX", "a", "--image", "b.png"], "give queries"),
    (["INDEX", "a", " "], "a query is empty"), (["INDEX", "a", "--count", "0"], "not 1 or more")])
def test_arguments_of_search(args, words, capsys):
  with pytest.raises(SystemExit):
    search.main(args)
  assert words in capsys.readouterr().err


def test_approximate_search(photos, model, tmp_path, capsys):
  pytest.importorskip("faiss")
  out = tmp_path / "index"
  index.main([str(photos), "--model", model, "--out", str(out), "--ann"])
  capsys.readouterr()
  search.main([str(out), "ocr", "--count", "4"])
  exact = capsys.readouterr().out
  search.main([str(out), "ocr", "--count", "4", "--ann"])
  assert capsys.readouterr().out == exact


def test_a_missing_package_is_named(photos, model, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "faiss", None)
  with pytest.raises(ValueError, match="pip install faiss-cpu"):
    index.main([str(photos), "--model", model, "--out", str(tmp_path / "i"), "--ann"])
