"""Safetensors files, single or sharded: read tensor by tensor, written as a stream.

A folder holds model.safetensors, or model-00001-of-00002.safetensors ... with
model.safetensors.index.json that says which file holds which tensor.
"""
import json
import math
import pathlib
import struct

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from big_vlm import files
from big_vlm.formats import shards
from big_vlm.formats.lazy_array import LazyArray
from pp.foreign import parse_json

INDEX = "model.safetensors.index.json"
MAX_SHARD = 5_000_000_000  # bytes: transformers' default up to version 4
MAX_HEADER = 32 << 20  # bytes
BLOCK = 64 << 20  # bytes written at once: what a transposed tensor costs on top of itself
DTYPES = {
    "F64": "f8", "F32": "f4", "F16": "f2", "BF16": ml_dtypes.bfloat16, "I64": "i8", "I32": "i4",
    "I16": "i2", "I8": "i1", "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "?"}
DTYPES = {name: np.dtype(dtype) for name, dtype in DTYPES.items()}


def read_folder(folder):
  """{name: LazyArray} of all tensors in the folder; no tensor is read yet.

  Raises FileNotFoundError for a shard that the index names and the folder lacks, and ValueError,
  which names the file, for a corrupt one.
  """
  folder = pathlib.Path(folder)
  if (folder / INDEX).exists():
    if (folder / "model.safetensors").exists():
      raise ValueError(f"{folder} holds both model.safetensors and {INDEX}, the index of other "
                       "files: one of them is of an older save. Remove that one.")
    weight_map = {name: file for name, (file, *_) in shards.read_index(folder / INDEX).items()}
    found = {f: read_file(folder / f) for f in sorted(set(weight_map.values()))}
    for name, file in weight_map.items():
      if name not in found[file]:
        raise shards.foreign(folder / file, name, INDEX)
    for file, leaves in found.items():
      if left := sorted(name for name in leaves if weight_map.get(name) != file):
        raise ValueError(f"{folder / file} holds {left[0]!r}, which {INDEX} does not place there: "
                         "the files are not of one checkpoint.")
    return {name: found[file][name] for name, file in weight_map.items()}
  found = sorted(folder.glob("*.safetensors"))
  if (folder / "model.safetensors") in found:
    found = [folder / "model.safetensors"]
  if not found:
    raise FileNotFoundError(f"{folder} holds no .safetensors file.")
  if len(found) > 1:
    raise FileNotFoundError(f"{folder} holds {len(found)} .safetensors files but no {INDEX}, which "
                            "says what belongs together: download it as well.")
  return read_file(found[0])


def read_file(path):
  """{name: LazyArray} of one file. Raises ValueError if it is corrupt or of another format."""
  path = files.inside(pathlib.Path(path).parent, pathlib.Path(path).name)
  try:
    _check_header(path)
    with safe_open(path, "numpy") as f:
      slices = {name: f.get_slice(name) for name in f.offset_keys()}
  except SafetensorError as e:
    raise ValueError(f"{path} {shards.lfs_pointer(path) or _reason(path, e)}") from None
  return {name: _leaf(path, name, x.get_dtype(), tuple(x.get_shape()))
          for name, x in slices.items()}


def _check_header(path):
  """Raises ValueError for a header of a key that stands twice: the library takes the last."""
  with open(path, "rb") as f:
    length = int.from_bytes(f.read(8), "little")
    if length <= MAX_HEADER and path.stat().st_size >= 8 + length:
      header = f.read(length)
      if header.startswith(b"{"):  # else the library says what is wrong
        parse_json(header, f"{path}: its header")
    elif length <= 100_000_000:
      raise SafetensorError(f"its header has {length:,} bytes")


def _reason(path, error):
  """What is wrong with a file that the library refuses."""
  size = path.stat().st_size
  with open(path, "rb") as f:
    start = f.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > 100_000_000:  # the library's own limit
      return f"is not a safetensors file: it begins with {start!r}. Download it again."
    if size < 8 + length:
      return (f"is cut short: it ends after {size} bytes, inside its header of {length} bytes. "
              "Download it again.")
    try:
      entries = json.loads(f.read(length))
      entries.pop("__metadata__", None)
      for name, entry in entries.items():
        begin, end = (8 + length + at for at in entry["data_offsets"])
        needed = math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize
        if end - begin != needed:
          return (f"is corrupt: {name!r}, {entry['dtype']} {entry['shape']}, should take {needed} "
                  f"bytes, not {end - begin}. Download it again.")
        if end > size:
          return (f"is cut short: {name!r} lies at bytes {begin} to {end} of a file of {size}. "
                  "Download it again.")
    except (ValueError, KeyError, TypeError, AttributeError):
      pass
  return f"is corrupt: its header is not a table of tensors ({error}). Download it again."


def _leaf(path, name, dtype, shape):
  if dtype not in DTYPES:
    raise ValueError(f"{path} holds {name!r} as {dtype}, which is not supported. Known: "
                     f"{', '.join(DTYPES)}.")

  def read(index=()):
    """Reads the rows asked for along the first axis, and no others."""
    rows = range(shape[0])[index[0]] if index and 0 not in shape else range(0)
    one = isinstance(rows, int)
    whole = not one and (rows.step != 1 or len(rows) in (0, *shape[:1]))
    try:
      # Of a tensor of 250 MiB "pread" takes 250 MiB and "mmap" 500; of ten of its rows "mmap" takes
      # nearly nothing, while "pread" reads the tensor for them.
      with safe_open(path, "numpy", backend="pread" if whole else "mmap") as f:
        if whole:
          return f.get_tensor(name)[tuple(index)]
        start, stop = (rows, rows + 1) if one else (rows.start, rows.stop)
        return f.get_slice(name)[start:stop][(0 if one else slice(None), *index[1:])]
    except SafetensorError as e:
      raise ValueError(f"{path}: {name!r} cannot be read: the file was cut short after it was "
                       f"opened ({e}). Download it again.") from None

  return LazyArray(shape, DTYPES[dtype], read)


def write_folder(folder, tensors, note=lambda done, total: None, max_shard=MAX_SHARD):
  """Writes {name: LazyArray} as one file, or as shards of at most max_shard bytes with their index.

  A tensor larger than max_shard is a shard of its own. Tensors are read one at a time, in the
  order of the dict. note(done, total): called as bytes are written.
  """
  folder, parts = pathlib.Path(folder), shards.split(tensors, max_shard)
  files = ["model.safetensors"] if len(parts) == 1 else [
      f"model-{i + 1:05d}-of-{len(parts):05d}.safetensors" for i in range(len(parts))]
  done, total = 0, sum(leaf.nbytes for leaf in tensors.values())
  for file, names in zip(files, parts):
    for size in write_file(folder / file, {name: tensors[name] for name in names}):
      done += size
      note(done, total)
  if len(parts) > 1:
    weight_map = {name: file for file, names in zip(files, parts) for name in names}
    shards.write_index(folder / INDEX, weight_map, total)


def write_file(path, tensors):
  """Writes {name: LazyArray} to one file; yields the number of bytes of each block written.

  The library's serialize_file takes pointers to all tensors of a file at once, 5 GB of them in a
  shard. Here one tensor is in memory at a time.
  """
  names = {dtype: name for name, dtype in DTYPES.items()}
  order = sorted(tensors, key=lambda n: -tensors[n].dtype.itemsize)  # keeps each one aligned
  header, at = {"__metadata__": {"format": "pt"}}, 0
  for name in order:
    leaf = tensors[name]
    if leaf.dtype not in names:
      raise ValueError(f"safetensors has no dtype for {name!r}: {leaf.dtype}.")
    header[name] = {"dtype": names[leaf.dtype], "shape": list(leaf.shape),
                    "data_offsets": [at, at + leaf.nbytes]}
    at += leaf.nbytes
  text = json.dumps(header, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)
  with open(path, "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text)
    for name in order:
      rows = np.atleast_1d(tensors[name].read(()))
      step = max(1, BLOCK // max(1, rows[:1].nbytes))
      for i in range(0, len(rows), step):
        block = np.ascontiguousarray(rows[i:i + step])
        f.write(block.reshape(-1).view(np.uint8))
        yield block.nbytes
