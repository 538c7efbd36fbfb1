"""Our reader and writer against the safetensors library, and corrupt files."""
import json
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from big_vlm.formats import safetensors
from big_vlm.formats.lazy_array import LazyArray, from_array

TENSORS = {
    "b": np.arange(6, dtype=np.float16).reshape(2, 3),
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "bf": np.arange(5).astype(ml_dtypes.bfloat16),
    "scalar": np.array(3, np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "ids": np.arange(3)[None],
}


def same(got, wanted):
  assert (got.dtype, got.shape, got.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())


def test_reads_what_the_library_wrote(tmp_path):
  save_file(TENSORS, tmp_path / "model.safetensors", {"format": "pt"})
  leaves = safetensors.read_folder(tmp_path)
  assert set(leaves) == set(TENSORS)
  for name, leaf in leaves.items():
    same(leaf.read(()), TENSORS[name])


def test_the_library_reads_what_we_wrote(tmp_path):
  transposed = {n: x.T for n, x in TENSORS.items()}  # not contiguous
  safetensors.write_folder(tmp_path, {n: from_array(x) for n, x in transposed.items()})
  got = load_file(tmp_path / "model.safetensors")
  assert set(got) == set(TENSORS)
  for name, x in transposed.items():
    same(got[name], x)
  length, = struct.unpack("<Q", (tmp_path / "model.safetensors").read_bytes()[:8])
  assert length % 8 == 0


INDEX = st.integers(-2, 1) | st.slices(2)


@settings(deadline=None, max_examples=40)
@given(index=st.lists(INDEX, max_size=3).map(tuple))
def test_any_index_gives_what_numpy_gives(tmp_path_factory, index):
  folder = tmp_path_factory.mktemp("st")
  x = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
  save_file({"x": x}, folder / "x.safetensors")
  got = safetensors.read_file(folder / "x.safetensors")["x"].read(index)
  np.testing.assert_array_equal(got, x[index])


def test_shards_and_their_index(tmp_path):
  notes, tensors = [], {f"t{i}": np.full((4, 4), i, np.float32) for i in range(5)}  # 64 bytes each
  tensors["big"] = np.zeros((10, 10), np.float32)
  safetensors.write_folder(tmp_path, {n: from_array(x) for n, x in tensors.items()},
                           lambda *done: notes.append(done), max_shard=128)
  index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
  assert index["metadata"] == {"total_size": 720}
  assert sorted({*index["weight_map"].values()}) == [
      f"model-{i}-of-00004.safetensors" for i in ("00001", "00002", "00003", "00004")]
  assert index["weight_map"]["t4"] != index["weight_map"]["big"]  # 64 + 400 bytes are too many
  assert notes[-1] == (720, 720)
  for name, leaf in safetensors.read_folder(tmp_path).items():
    same(leaf.read(()), tensors[name])


def test_tensors_are_read_one_at_a_time_and_only_when_asked_for(tmp_path):
  alive = []

  def leaf(i):
    def read(index=()):
      alive.append(i)
      return np.full((2, 2), i, np.float32)
    return LazyArray((2, 2), np.dtype(np.float32), read)

  sizes = safetensors.write_file(tmp_path / "x", {f"t{i}": leaf(i) for i in range(3)})
  assert alive == []
  next(sizes)
  assert alive == [0]
  assert len(list(sizes)) == 2 and alive == [0, 1, 2]


def corrupt(tmp_path, data):
  (tmp_path / "model.safetensors").write_bytes(data)
  return tmp_path


def header(entry, data=b""):
  text = json.dumps({"w": entry}).encode()
  return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("data,message", [
    (b"", "model.safetensors is not a safetensors file"),
    (b"PK\x03\x04" * 10, "begins with b'PK"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    (struct.pack("<Q", 1000) + b"{}", "cut short: it ends after 10 bytes, inside its header"),
    (struct.pack("<Q", 4) + b"oops", "corrupt: its header"),
    (header({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, b"1234567"),
     "cut short: 'w' lies at bytes .* of a file of"),
    (header({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, b"1234"),
     "corrupt: 'w', F32 .* should take 8 bytes, not 4"),
    (header({"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}, b"1"), "'w' as F4"),
    (header({"dtype": "F32"}), "corrupt: its header is not a table"),
])
def test_a_corrupt_file_is_named(tmp_path, data, message):
  with pytest.raises(ValueError, match=message):
    safetensors.read_folder(corrupt(tmp_path, data))


def test_a_file_cut_while_open_is_named(tmp_path):
  save_file(TENSORS, tmp_path / "model.safetensors")
  leaves = safetensors.read_folder(tmp_path)
  corrupt(tmp_path, (tmp_path / "model.safetensors").read_bytes()[:-30])
  with pytest.raises(ValueError, match="was cut short after it was opened"):
    for leaf in leaves.values():
      leaf.read(())


def test_folders_that_do_not_hold_together(tmp_path):
  with pytest.raises(FileNotFoundError, match="no .safetensors file"):
    safetensors.read_folder(tmp_path)
  save_file({"x": np.zeros(1)}, tmp_path / "model-00001-of-00002.safetensors")
  save_file({"y": np.zeros(1)}, tmp_path / "model-00002-of-00002.safetensors")
  with pytest.raises(FileNotFoundError, match="2 .safetensors files but no model.*index"):
    safetensors.read_folder(tmp_path)
  index = tmp_path / "model.safetensors.index.json"
  index.write_text('{"weight_map": {"x": "model-00001-of-00002.safetensors"}}')
  with pytest.raises(ValueError, match="does not name model-00002-of.*, which lies"):
    safetensors.read_folder(tmp_path)
  index.write_text('{"weight_map": {"x": "model-00001-of-00002.safetensors", '
                   '"z": "model-00002-of-00002.safetensors"}}')
  with pytest.raises(ValueError, match="does not hold 'z'"):
    safetensors.read_folder(tmp_path)
  index.write_text("[]")
  with pytest.raises(ValueError, match="not an index of shards"):
    safetensors.read_folder(tmp_path)
