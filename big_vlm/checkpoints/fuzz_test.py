"""Damaged folders and tokenizers: read as they were meant, or refused in one sentence.

  BIG_VLM_FUZZ=20000 .venv/bin/python -m pytest big_vlm/checkpoints/fuzz_test.py -s
"""
import json
import os
import pathlib
import resource
import shutil
import time

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

COUNT = int(os.environ.get("BIG_VLM_FUZZ", "0"))  # of each kind; 0: as many as each can afford
GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden"
SECONDS, MEGABYTES = 2.0, 500  # that one may take
PIECES = [b"", b"\0", b"\n", b'"', b"[" * 3000, b"1e999", b"-1", b"null", b"NaN", b"9" * 5000, b"{",
          b"../../etc/passwd", b"}", b"0.5", b"\xc3", b"true", b"1000000000000", b"[]", b",", b"5"]
VALUES = [None, True, False, 0, -1, 1, 3, 10**9, 10**400, 0.5, 1e300, "", "x", "\x1b[2J", "../x",
          "x" * 10**6, [], [1], {}, {"a": 1}, [[]], [None] * 5]
TEXTS = ["detect cat", "the fox <loc0001>", "é日本🦒", "<eos>", ""]


def mutated(data, rng, structure):
  """Bytes, half of the time of a JSON with a value or key replaced, else with bytes replaced."""
  if structure and rng.integers(2):
    content = json.loads(data)
    spots = list(_spots(content))
    for _ in range(rng.integers(1, 3)):
      inside, key = spots[rng.integers(len(spots))]
      if rng.integers(4) or not isinstance(inside, dict):
        inside[key] = VALUES[rng.integers(len(VALUES))]
      else:
        inside[str(key) + "s"] = inside.pop(key, 0)
    return json.dumps(content).encode()
  return mutations.mutated(data, rng, PIECES)


def _spots(content):
  items = content.items() if isinstance(content, dict) else enumerate(content)
  for key, value in items:
    yield content, key
    if isinstance(value, (dict, list)):
      yield from _spots(value)


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
  rng, slowest = np.random.default_rng(COUNT), 0
  done = dict(same=0, other=0, refused=0)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  for _ in range(COUNT or count):
    file = files[rng.integers(len(files))]
    data = mutated(clean[file], rng, file.suffix == ".json")
    file.write_bytes(data)
    began = time.process_time()
    try:
      got = read()
      done["same" if got == wanted else "other"] += 1
      if isinstance(got, dict) and "without" not in request.node.callspec.id:
        # Another config may name other tensors: those that are read have the numbers they had.
        assert all(x == wanted.get(name, x) for name, x in got.items()), data
    except (ValueError, OSError) as e:
      done["refused"] += 1
      assert len(str(e)) < 5000, str(e)[:200]
    file.write_bytes(clean[file])
    slowest = max(slowest, time.process_time() - began)
  more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
  with capsys.disabled():
    if COUNT:
      print(f"\n{request.node.callspec.id}: {done}, slowest {slowest:.2f} s, {more} MiB more")
  assert read() == wanted and done["refused"] > 0
  assert slowest < SECONDS and more < MEGABYTES
