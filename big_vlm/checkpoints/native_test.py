import json

import pytest

from big_vlm.checkpoints import native

MODEL = dict(img=dict(variant="tiny"), llm=dict(variant="tiny"))


def test_model_and_tokenizer_travel_with_the_folder(tmp_path, tokenizer):
  native.write_model(tmp_path, MODEL, tokenizer)
  moved = tmp_path.rename(tmp_path.with_name("moved"))
  folder, step, model, spec, _ = native.read_model(moved)
  assert (str(folder), step, model) == (str(moved), None, MODEL)
  assert spec == f"sp(model='{moved}/tokenizer.model', tokensets=('loc', 'seg'))"
  assert native.read_model(moved / "checkpoints" / "12")[:2] == (folder, 12)


def test_a_model_without_a_tokenizer(tmp_path):
  native.write_model(tmp_path, MODEL, None)
  assert native.read_model(tmp_path)[2:] == (MODEL, None, None)
  assert [p.name for p in tmp_path.iterdir()] == ["model.json"]


def test_a_model_json_of_the_first_trainings_is_read(tmp_path):
  (tmp_path / "model.json").write_text(json.dumps(
      {"format": 1, "model": MODEL, "tokenizer": ["sp", {"tokensets": ["loc", "seg"]}]}))
  assert native.read_model(tmp_path)[3] == (
      f"sp(model='{tmp_path}/tokenizer.model', tokensets=('loc', 'seg'))")


def test_another_format_is_refused(tmp_path, tokenizer):
  native.write_model(tmp_path, MODEL, tokenizer)
  description = json.loads((tmp_path / "model.json").read_text())
  (tmp_path / "model.json").write_text(json.dumps(description | {"format": 99}))
  with pytest.raises(ValueError, match="has format 99; this version reads format 1"):
    native.read_model(tmp_path)
