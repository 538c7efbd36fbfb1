"""Foreign folders whose parts disagree, and damaged files: refused by name, or read as the library
reads them. No model is built."""
import json
import pathlib
import random
import shutil

import h5py
import numpy as np
import pytest
import safetensors.numpy

from big_vlm.checkpoints import load, steps
from big_vlm.formats import h5, npz
from big_vlm.formats import safetensors as ours

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden"


@pytest.fixture
def folder(tmp_path):
  return pathlib.Path(shutil.copytree(GOLDEN / "hf_gemma", tmp_path / "hf"))


@pytest.mark.parametrize("factor", [1, 2])
def test_a_head_is_the_embedding_table_or_refused(folder, factor):
  tensors = safetensors.numpy.load_file(folder / "model.safetensors")
  table = next(x for n, x in tensors.items() if n.endswith("embed_tokens.weight"))
  safetensors.numpy.save_file({**tensors, "lm_head.weight": factor * table},
                              folder / "model.safetensors")
  if factor == 1:
    load.open_source(folder)
  else:
    with pytest.raises(ValueError, match="hf: lm_head.weight differs from the embedding table"):
      load.open_source(folder)


def test_an_index_beside_a_whole_file_is_refused(folder):
  (folder / ours.INDEX).write_text('{"weight_map": {}}')
  with pytest.raises(ValueError, match="one of them is of an older save"):
    load.open_source(folder)


@pytest.mark.parametrize("change", [
    dict(num_hidden_layers=10**9), dict(num_hidden_layers=True), dict(hidden_size=3.5),
    dict(head_dim="x"), dict(vocab_size=-1), dict(attention_bias=True),
    dict(tie_word_embeddings=False), dict(rope_scaling={"type": "yarn", "factor": 2})])
def test_a_config_of_other_numbers_is_named(folder, change):
  file = folder / "config.json"
  file.write_text(json.dumps(json.loads(file.read_text()) | change))
  with pytest.raises(ValueError, match=f"config.json.*({next(iter(change))}|rotary)"):
    load.open_source(folder)


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a": 1, "a": 2}', '{"a": NaN}', "\xff"])
def test_json_that_is_none(folder, text):
  (folder / "config.json").write_bytes(text.encode("latin-1"))
  with pytest.raises(ValueError, match="config.json is not "):
    load.open_source(folder)


def test_a_step_that_is_empty_is_named(tmp_path):
  assert steps.validation_error(tmp_path, "params/") == (
      "it holds no params: its copy was cut short")


ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b/c": np.arange(4, dtype=np.float16)}


def _write_h5(file, arrays):
  with h5py.File(file, "w") as f:
    for name, x in arrays.items():
      f[name] = x


def _read_h5(file):
  with h5py.File(file) as f:
    return {name: f[name][()] for name in ARRAYS}


@pytest.mark.parametrize("write,read,peer,rounds", [
    (lambda f, x: np.savez(f, **x), npz.read_file, lambda f: dict(np.load(f)), 150),
    (lambda f, x: safetensors.numpy.save_file(x, f), ours.read_file, safetensors.numpy.load_file,
     150),
    (_write_h5, h5.read_file, _read_h5, 50)], ids=["npz", "safetensors", "h5"])
def test_a_mutated_file_is_refused_or_read_as_its_library_reads_it(
    tmp_path, write, read, peer, rounds):
  rng, file = random.Random(0), tmp_path / "x.npz"
  write(file, ARRAYS)
  data = file.read_bytes()
  for _ in range(rounds):
    mutated = bytearray(data)
    for _ in range(rng.randint(1, 4)):
      mutated[rng.randrange(len(data))] = rng.randrange(256)
    file.write_bytes(mutated[:rng.choice([len(data), len(data), rng.randrange(len(data))])])
    try:
      got = {name: leaf.read(()) for name, leaf in read(file).items()}
    except (ValueError, OSError) as e:
      assert "x.npz" in str(e) and len(str(e)) < 1000
      continue
    wanted = peer(file)
    for name, x in got.items():
      assert x.tobytes() == np.asarray(wanted[name]).tobytes()
