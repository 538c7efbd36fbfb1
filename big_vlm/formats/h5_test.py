import json
import pathlib
import shutil

import h5py
import ml_dtypes
import numpy as np
import pytest

from big_vlm.formats import h5, lazy_array, survey

SHARDED = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "keras_paligemma2"


def tensors(rng):
  """A dense layer in bfloat16, one of 4000 bytes, a norm in float16 and a constant."""
  return {"layers/dense/vars/0": rng.normal(size=(4, 5)).astype(ml_dtypes.bfloat16),
          "layers/dense/vars/1": rng.normal(size=5).astype(ml_dtypes.bfloat16),
          "layers/dense_1/vars/0": rng.normal(size=(100, 10)).astype(np.float32),
          "layers/norm/vars/0": rng.normal(size=5).astype(np.float16),
          "vars/0": np.arange(3, dtype=np.int32)}


@pytest.mark.parametrize("max_shard,files", [(h5.MAX_SHARD, 1), (4000, 3), (1, 4)])
def test_there_and_back(tmp_path, rng, max_shard, files):
  arrays, notes = tensors(rng), []
  h5.write_folder(tmp_path, {n: lazy_array.from_array(x) for n, x in arrays.items()},
                  lambda *done: notes.append(done), max_shard)
  assert len(list(tmp_path.glob("*.h5"))) == files
  read = h5.read_folder(tmp_path)
  assert read.keys() == arrays.keys()
  for name, x in arrays.items():
    assert (read[name].shape, read[name].dtype) == (x.shape, x.dtype)
    np.testing.assert_array_equal(read[name].read(()), x)
    np.testing.assert_array_equal(read[name].read((slice(1, 3),)), x[1:3])
    assert read[name].read((0,)).dtype == x.dtype
  total = sum(x.nbytes for x in arrays.values())
  assert notes[0] == (40, total) and notes[-1] == (total, total)


def test_bfloat16_as_keras_stores_it(tmp_path, rng):
  h5.write_folder(tmp_path, {n: lazy_array.from_array(x) for n, x in tensors(rng).items()})
  with h5py.File(tmp_path / "model.weights.h5") as f:
    assert f["layers/dense/vars/0"].dtype == "V2"
    assert f["layers/dense/vars/0"].attrs["dtype"] == "bfloat16"
    assert "dtype" not in f["layers/norm/vars/0"].attrs


def test_a_layer_stays_in_one_shard(tmp_path, rng):
  h5.write_folder(tmp_path, {n: lazy_array.from_array(x) for n, x in tensors(rng).items()},
                  max_shard=4000)
  index = json.loads((tmp_path / "model.weights.json").read_text())
  assert index == {"metadata": {"total_size": 40 + 10 + 4000 + 10 + 12}, "weight_map": {
      "/layers/dense/vars": "model_00000.weights.h5",
      "/layers/dense_1/vars": "model_00001.weights.h5",
      "/layers/norm/vars": "model_00002.weights.h5", "/vars": "model_00002.weights.h5"}}


def test_a_single_file_comes_before_shards(tmp_path, rng):
  x = lazy_array.from_array(rng.normal(size=3))
  h5.write_folder(tmp_path, {"old/vars/0": x, "older/vars/0": x}, max_shard=24)
  h5.write_folder(tmp_path, {"new/vars/0": x})
  assert list(h5.read_folder(tmp_path)) == ["new/vars/0"]


# --- corrupt files

def test_the_library_finds_no_end(tmp_path, monkeypatch):
  tensors = {"a/vars/0": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
             "a/vars/1": np.arange(6).astype(ml_dtypes.bfloat16), "b/vars/0": np.float16([[1, 2]])}
  h5.write_folder(tmp_path, {n: lazy_array.from_array(x) for n, x in tensors.items()})
  data = bytearray((tmp_path / h5.WEIGHTS).read_bytes())
  for at, byte in ((7606, 1), (7608, 0), (7609, 0), (8437, 1)):  # found by formats/fuzz_test.py
    data[at] = byte
  (tmp_path / h5.WEIGHTS).write_bytes(data)
  monkeypatch.setattr(survey, "SECONDS", 1)
  with pytest.raises(ValueError, match="weights.h5 .* told in 1 s of .* finds no end"):
    h5.read_folder(tmp_path)
  h5.write_folder(tmp_path, {n: lazy_array.from_array(x) for n, x in tensors.items()})
  assert h5.read_folder(tmp_path).keys() == tensors.keys()  # another child answers


@pytest.fixture
def sharded(tmp_path):
  return pathlib.Path(shutil.copytree(SHARDED, tmp_path / "sharded"))


def test_nothing_there(tmp_path):
  with pytest.raises(FileNotFoundError, match="holds no weights: neither model.weights.h5 nor"):
    h5.read_folder(tmp_path)


def test_a_missing_shard(sharded):
  (sharded / "model_00001.weights.h5").unlink()
  with pytest.raises(FileNotFoundError, match="sharded lacks 1 of the 3 files that "
                                              "model.weights.json names: model_00001.weights.h5"):
    h5.read_folder(sharded)


def test_a_shard_of_another_checkpoint(sharded):
  shutil.copy(sharded / "model_00000.weights.h5", sharded / "model_00001.weights.h5")
  with pytest.raises(ValueError, match="model_00001.weights.h5 does not hold '/layers/"):
    h5.read_folder(sharded)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"/x": 3}}'])
def test_a_broken_index(sharded, text):
  (sharded / "model.weights.json").write_text(text)
  with pytest.raises(ValueError, match="weights.json.* not (an index of shards|valid JSON)"):
    h5.read_folder(sharded)


@pytest.mark.parametrize("data,message", [
    (b"", "is not a complete .h5 file: it is cut short or corrupt"),
    (b"<html>404</html>", "is not a complete .h5 file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
     "is a Git LFS pointer.*lfs pull")])
def test_no_h5_file(tmp_path, data, message):
  (tmp_path / "model.weights.h5").write_bytes(data)
  with pytest.raises(ValueError, match=f"model.weights.h5 {message}"):
    h5.read_folder(tmp_path)


@pytest.mark.parametrize("keep", [0.01, 0.5, 0.99])
def test_a_file_cut_short(sharded, keep):
  file = sharded / "model_00001.weights.h5"
  file.write_bytes(file.read_bytes()[:int(file.stat().st_size * keep)])
  with pytest.raises(ValueError, match="00001.weights.h5 is not a complete .h5 file.*cut short"):
    h5.read_folder(sharded)


def test_a_file_cut_short_after_it_was_opened(sharded):
  file = sharded / "model_00001.weights.h5"
  name, leaf = next(iter(h5.read_file(file).items()))
  file.write_bytes(file.read_bytes()[:2000])
  with pytest.raises(ValueError, match=f"'{name}' of .*model_00001.weights.h5 cannot be read"):
    leaf.read(())


def test_a_dataset_that_lies_in_another_file_is_refused(tmp_path):
  with h5py.File(tmp_path / "model.weights.h5", "w") as f:
    f.create_dataset("layers/x/vars/0", (4,), "f4", external=[("/etc/hostname", 0, 16)])
  with pytest.raises(ValueError, match="weights.h5: 'layers/x/vars/0' has its data in another"):
    h5.read_folder(tmp_path)


def _external_link(f):
  f["layers/x"] = h5py.ExternalLink("/etc/passwd", "/")


def _twice(f):
  f["layers/a"] = np.zeros(3)
  f["layers/b"] = f["layers/a"]


@pytest.mark.parametrize("write,message", [
    (_external_link, "'layers/x' is a link"),
    (lambda f: f.update({"layers/x": h5py.SoftLink("/y")}), "is a link"),
    (_twice, "is a second name"),
    (lambda f: f.create_group("/".join("g" * 3000)), "is nested too deeply"),
    (lambda f: f.create_dataset("x", data=np.array([(1, 2.)], "i4,f4")), "is of the type"),
    (lambda f: f.create_dataset("x", data="text"), "is of the type"),
    (lambda f: f.create_dataset("x", (1 << 14, 1 << 14), "f4", chunks=True), "lacks some"),
    (lambda f: f.create_dataset("x", (1 << 30,), "f4"), "has 0 of its 4,294,967,296 bytes")])
def test_what_keras_never_writes_is_refused(tmp_path, write, message):
  with h5py.File(tmp_path / "model.weights.h5", "w") as f:
    write(f)
  with pytest.raises(ValueError, match=f"model.weights.h5: .*{message}"):
    h5.read_folder(tmp_path)
