import json

import pytest

from big_vlm.checkpoints import native

MODEL = dict(img=dict(variant="tiny"), llm=dict(variant="tiny"))


def test_model_and_tokenizer_travel_with_the_folder(tmp_path, tokenizer):
  native.write_model(tmp_path, MODEL, tokenizer)
  moved = tmp_path.rename(tmp_path.with_name("moved"))
  folder, step, model, spec, *_ = native.read_model(moved)
  assert (str(folder), step, model) == (str(moved), None, MODEL)
  assert spec == f"sp(model='{moved}/tokenizer.model', tokensets=('loc', 'seg'))"
  assert native.read_model(moved / "checkpoints" / "12")[:2] == (folder, 12)


def test_a_model_without_a_tokenizer(tmp_path):
  native.write_model(tmp_path, MODEL, None)
  assert native.read_model(tmp_path)[2:] == (MODEL, None, None, None)
  assert [p.name for p in tmp_path.iterdir()] == ["model.json"]


def test_a_model_json_of_the_first_trainings_is_read(tmp_path):
  (tmp_path / "model.json").write_text(json.dumps(
      {"format": 1, "model": MODEL, "tokenizer": ["sp", {"tokensets": ["loc", "seg"]}]}))
  assert native.read_model(tmp_path)[3] == (
      f"sp(model='{tmp_path}/tokenizer.model', tokensets=('loc', 'seg'))")


@pytest.mark.parametrize("text, said", [
    ("", "is not JSON"), ("{", "is not JSON"), ("[" * 10**5, "is not JSON"), ("\xff", "not JSON"),
    ("[]", "does not describe a model"), ("{}", "does not describe a model"),
    ('{"model": {"img": {}, "llm": {}, "x": 1}}', "does not describe a model"),
    ('{"model": {}, "lora_scale": "1"}', "does not describe a model"),
    ('{"model": {}, "text_len": "1"}', "does not describe a model"),
    ('{"model": {"img": 5}}', "model.json: "),
    ('{"model": {}, "tokenizer": "sp"}', "is not .kind, arguments."),
    ('{"model": {}, "tokenizer": ["spm", {}]}', "Unknown tokenizer 'spm'. Did you mean 'sp'"),
    ('{"model": {}, "tokenizer": ["sp", {"model": "/etc/passwd"}]}', "sets 'model'; its files are"),
    ('{"model": {}, "tokenizer": ["sp", {"x=open": 1}]}', "sets 'x=open'")])
def test_a_model_json_that_is_damaged_or_reads_other_files(tmp_path, text, said):
  (tmp_path / "model.json").write_bytes(text.encode("latin-1"))
  with pytest.raises(ValueError, match=f"(?s){tmp_path}.*{said}|{said}"):
    native.open_source(tmp_path)


def test_a_tokenizer_that_is_a_link_to_another_file_is_refused(tmp_path, tokenizer):
  (tmp_path / "w").mkdir()
  native.write_model(tmp_path / "w", MODEL, tokenizer)
  (tmp_path / "w/tokenizer.model").rename(tmp_path / "private")
  (tmp_path / "w/tokenizer.model").symlink_to("../private")
  with pytest.raises(ValueError, match="'tokenizer.model' leads outside"):
    native.read_model(tmp_path / "w")


def test_a_byte_order_mark_is_no_damage(tmp_path):
  native.write_model(tmp_path, MODEL, None)
  path = tmp_path / "model.json"
  path.write_text("\ufeff" + path.read_text())
  assert native.read_model(tmp_path)[2] == MODEL


def test_another_format_is_refused(tmp_path, tokenizer):
  native.write_model(tmp_path, MODEL, tokenizer)
  description = json.loads((tmp_path / "model.json").read_text())
  (tmp_path / "model.json").write_text(json.dumps(description | {"format": 99}))
  with pytest.raises(ValueError, match="has format 99; this version reads format 1"):
    native.read_model(tmp_path)
