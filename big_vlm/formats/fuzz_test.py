"""Damaged weight files: read as another reader of the format reads them, or refused by name."""
import io
import json
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest

from big_vlm.formats import h5, npz, safetensors
from big_vlm.formats.lazy_array import from_array
from pp.foreign import reading
from tests import mutations

TENSORS = {"a/vars/0": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
           "a/vars/1": np.arange(6).astype(ml_dtypes.bfloat16), "b/vars/0": np.float16([[1, 2]])}
EXTREMES = [b"\xff\xff\xff\xff", b"\xff" * 8, b"\x7f", b"\0\0\0\x80", b"\1\0\0\0", b"\0" * 8]
PIECES = mutations.PIECES + EXTREMES


def contents(leaves):
  return {name: (leaf.shape, leaf.dtype, np.asarray(leaf.read(())).tobytes())
          for name, leaf in leaves.items()}


def in_safetensors(data):
  """The tensors of a file by the format's description alone."""
  at = 8 + int.from_bytes(data[:8], "little")
  header, found = json.loads(data[8:at]), {}
  for name, entry in header.items():
    if name != "__metadata__":
      begin, end = entry["data_offsets"]
      found[name] = (tuple(entry["shape"]), safetensors.DTYPES[entry["dtype"]],
                     data[at + begin:at + end])
  return found


def in_npz(data):
  found = {}
  with np.load(io.BytesIO(data)) as arrays:
    for name in arrays.files:
      x = arrays[name].view(npz.BFLOAT16) if arrays[name].dtype == "V2" else arrays[name]
      found[name] = (x.shape, x.dtype, x.tobytes())
  return found


def in_h5(data):
  found = {}
  def visit(name, item):
    if isinstance(item, h5py.Dataset):
      dtype = h5.BFLOAT16 if item.attrs.get("dtype") == "bfloat16" else item.dtype
      found[name] = (item.shape, dtype, item[()].tobytes())
  with h5py.File(io.BytesIO(data)) as f:
    f.visititems(visit)
  return found


def packed(members, compression):
  """A zip file with right checksums."""
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", compression) as archive:
    for name, data in members.items():
      archive.writestr(name, data)
  return file.getvalue()


def mutated_npz(data, rng):
  """Half of the time inside of an array, whose checksum fits, else anywhere."""
  if rng.integers(2):
    return mutations.mutated(data, rng, PIECES)
  with zipfile.ZipFile(io.BytesIO(data)) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
  name = list(members)[rng.integers(len(members))]
  members[name] = mutations.mutated(members[name], rng, PIECES)
  return packed(members, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[rng.integers(2)])


def mutated_safetensors(data, rng):
  """Half of the time inside of the header, whose length fits, else anywhere."""
  if rng.integers(2):
    return mutations.mutated(data, rng, PIECES)
  at = 8 + int.from_bytes(data[:8], "little")
  change = (mutations.mutated_json, mutations.mutated)[rng.integers(2)]
  header = change(data[8:at], rng)
  return len(header).to_bytes(8, "little") + header + data[at:]


def mutated_h5(data, rng):
  """Of the same length: all places in the file are addresses in it."""
  data = bytearray(data)
  for _ in range(rng.integers(1, 4)):
    at = int(rng.integers(len(data)))
    piece = (EXTREMES[rng.integers(len(EXTREMES))], rng.bytes(1))[rng.integers(2)]
    data[at:at + len(piece)] = piece[:len(data) - at]
  return bytes(data)


@pytest.mark.parametrize("module,name,mutated,independent,count", [
    (safetensors, "model.safetensors", mutated_safetensors, in_safetensors, 300),
    (npz, "model.npz", mutated_npz, in_npz, 200), (h5, "model.weights.h5", mutated_h5, in_h5, 100),
], ids=["safetensors", "npz", "h5"])
def test_a_damaged_file_is_read_as_others_read_it(module, name, mutated, independent, count,
                                                  tmp_path, capsys):
  path = tmp_path / name
  write = npz.write_file if module is npz else lambda path, x: module.write_folder(path.parent, x)
  write(path, {n: from_array(x) for n, x in TENSORS.items()})
  clean = path.read_bytes()
  wanted = independent(clean)

  def attempt(rng):
    path.write_bytes(data := mutated(clean, rng))
    with reading(path):  # as load.open_source does
      got = contents(module.read_file(path))
    assert got == independent(data), data
    return "same" if got == wanted else "other"
  mutations.attack(attempt, count, capsys, module.__name__)


@pytest.mark.parametrize("module", [safetensors, h5])
def test_a_damaged_index_changes_no_tensor(module, tmp_path, capsys):
  module.write_folder(tmp_path, {n: from_array(x) for n, x in TENSORS.items()}, max_shard=60)
  wanted, index = contents(module.read_folder(tmp_path)), tmp_path / module.INDEX
  clean = index.read_bytes()

  def attempt(rng):
    change = (mutations.mutated_json, mutations.mutated)[rng.integers(2)]
    index.write_bytes(change(clean, rng))
    with reading(index):
      got = contents(module.read_folder(tmp_path))
    assert got == wanted, index.read_bytes()
    return "same"
  mutations.attack(attempt, 100, capsys, f"index of {module.__name__}")
