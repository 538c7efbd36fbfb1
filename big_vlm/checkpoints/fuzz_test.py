"""Damaged folders and tokenizers: read as they were meant, or refused in one sentence.

  BIG_VLM_FUZZ=20000 .venv/bin/python -m pytest big_vlm/checkpoints/fuzz_test.py -s
"""
import pathlib
import shutil

import jax
import numpy as np
import pytest

from big_vlm.adapt import peft, peft_test
from big_vlm.checkpoints import checkpoint, load, native
from big_vlm.families import paligemma
from big_vlm.formats import orbax_tree
from pp import tokenizer_fast
from pp.tokenizer import SentencePiece, train_sentencepiece
from tests import mutations

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden"
TEXTS = ["detect cat", "the fox <loc0001>", "é日本🦒", "<eos>", ""]


def mutated(data, rng, structure):
  """Bytes, half of the time of a JSON with a value or key replaced, else with bytes replaced."""
  return (mutations.mutated_json if structure and rng.integers(2) else mutations.mutated)(data, rng)


def leaves_of(folder):
  """{name: bytes} of every parameter."""
  orbax_tree.restored.cache_clear()
  leaves = load.open_source(folder).leaves
  return {name: np.asarray(x.read(())).tobytes() for name, x in leaves.items()}


def tokens_of(tokenizer):
  ids = tokenizer.to_int(TEXTS)
  return [ids, tokenizer.to_str(ids)]


def golden(name, tmp_path):
  folder = pathlib.Path(shutil.copytree(GOLDEN / name, tmp_path / "golden"))
  return sorted(folder.glob("*.json")), lambda: leaves_of(folder)


def work_folder(tmp_path, manifest=True):
  config = paligemma.config(None, {"variant": "tiny", "vocab_size": 64, "depth": 1})
  leaves = {name: checkpoint.from_array(np.ones(shape, np.float32))
            for name, shape in checkpoint.shapes(config).items()}
  folder = tmp_path / "work"
  native.write(folder, checkpoint.Checkpoint("x", config, leaves, None), lambda *_: None)
  if not manifest:
    (folder / "checkpoints" / "0" / "manifest.json").unlink()
  return sorted(p for p in folder.rglob("*") if p.is_file()), lambda: leaves_of(folder)


def adapter(tmp_path):
  folder = peft_test.adapter(tmp_path / "a", peft_test.pairs(["layers.0.self_attn.q_proj"]))
  return [folder / peft.CONFIG], lambda: [
      np.asarray(x).tobytes() for x in jax.tree.leaves(
          peft.load(peft_test.MODEL, peft_test.PARAMS, folder))]


def sentencepiece_model(tmp_path):
  train_sentencepiece([*TEXTS] * 20, tmp_path / "t.model", 300)
  return [tmp_path / "t.model"], lambda: tokens_of(SentencePiece(tmp_path / "t.model", ("loc",)))


def tokenizer_json(tmp_path, name="gemma"):
  shutil.copy(GOLDEN / "tokenizers" / name / "tokenizer.json", tmp_path)
  path = str(tmp_path / "tokenizer.json")
  return [tmp_path / "tokenizer.json"], lambda: tokens_of(tokenizer_fast.hf(path))


@pytest.mark.parametrize("make,count", [
    (lambda t: golden("hf_paligemma2", t), 100), (lambda t: golden("hf_gemma3", t), 150),
    (lambda t: golden("hf_siglip2_naflex", t), 80), (lambda t: golden("keras_siglip", t), 40),
    (lambda t: golden("keras_paligemma", t), 60), (lambda t: golden("keras_opt", t), 100),
    (work_folder, 30), (lambda t: work_folder(t, manifest=False), 30), (adapter, 200),
    (sentencepiece_model, 300), (tokenizer_json, 100), (lambda t: tokenizer_json(t, "opt"), 150),
], ids=["hf", "gemma3", "naflex", "keras_siglip", "keras", "keras_opt", "native",
        "native_without_manifest", "adapter", "sentencepiece", "tokenizer_json",
        "tokenizer_json_opt"])
def test_no_damage_breaks_a_reader_or_changes_numbers(make, count, tmp_path, capsys, request):
  files, read = make(tmp_path)
  clean, wanted = {file: file.read_bytes() for file in files}, read()

  def attempt(rng):
    file = files[rng.integers(len(files))]
    file.write_bytes(data := mutated(clean[file], rng, file.suffix == ".json"))
    try:
      got = read()
    finally:
      file.write_bytes(clean[file])
    if isinstance(got, dict) and "without" not in request.node.callspec.id:
      # Another config may name other tensors: those that are read have the numbers they had.
      assert all(x == wanted.get(name, x) for name, x in got.items()), data
    return "same" if got == wanted else "other"
  done = mutations.attack(attempt, count, capsys, request.node.callspec.id)
  assert read() == wanted and done["refused"] > 0


def test_a_step_without_checksums_says_so(tmp_path, capsys):
  work_folder(tmp_path, manifest=False)
  for folder in ("work", "work/checkpoints/0"):
    leaves_of(tmp_path / folder)
    assert "checkpoint 0 has no manifest.json: damage in its" in capsys.readouterr().out
