"""Safetensors files, single or sharded: read tensor by tensor, written as a stream.

    8 bytes              length n of the header, little-endian
    n bytes of JSON      {"name": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}, ...}
    data                 row-major, little-endian; offsets count from here

A folder holds model.safetensors, or model-00001-of-00002.safetensors ... with
model.safetensors.index.json that says which file holds which tensor. Files are read with read(),
not mapped: a mapped file counts into the memory of the process, a read one does not stay there.
"""
import json
import math
import pathlib
import struct

import ml_dtypes
import numpy as np

from big_vlm.checkpoints.checkpoint import LazyArray

INDEX = "model.safetensors.index.json"
MAX_SHARD = 5_000_000_000  # bytes: transformers' default up to version 4
_BLOCK = 64 << 20  # bytes written at once: what a transposed tensor costs on top of itself
_HEADER_LIMIT = 100_000_000  # bytes, as in the safetensors library

DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}
DTYPES = {name: np.dtype(dtype) for name, dtype in DTYPES.items()}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def read_folder(folder):
  """{name: LazyArray} of all tensors in the folder; no tensor is read yet.

  Raises FileNotFoundError for a shard that the index names and the folder lacks, and ValueError,
  which names the file, for one that is cut short or no safetensors file.
  """
  folder = pathlib.Path(folder)
  if not (folder / INDEX).exists():
    return _read_loose(folder)
  try:
    weight_map = json.loads((folder / INDEX).read_text())["weight_map"]
    files = sorted(set(weight_map.values()))
  except (ValueError, KeyError, AttributeError, TypeError) as e:
    raise ValueError(f"{folder / INDEX} is no index of shards: it must be a JSON object whose "
                     f"'weight_map' gives the file of each tensor ({e!r}). Download it again."
                     ) from None
  if missing := [f for f in files if not (folder / f).exists()]:
    raise FileNotFoundError(
        f"{folder} lacks {len(missing)} of the {len(files)} files that {INDEX} names: "
        f"{', '.join(missing)}. The download was not finished: fetch them into the same folder.")
  shards = {f: read_file(folder / f) for f in files}
  if absent := [n for n, f in weight_map.items() if n not in shards[f]]:
    raise ValueError(f"{folder / weight_map[absent[0]]} does not hold {absent[0]!r}, though "
                     f"{INDEX} says so: the files are not of one checkpoint.")
  return {name: shards[file][name] for name, file in weight_map.items()}


def _read_loose(folder):
  files = sorted(folder.glob("*.safetensors"))
  if (folder / "model.safetensors") in files:
    files = [folder / "model.safetensors"]
  if not files:
    raise FileNotFoundError(f"{folder} holds no .safetensors file.")
  if len(files) > 1:
    raise FileNotFoundError(f"{folder} holds {len(files)} .safetensors files but no {INDEX}, which "
                            "says what belongs together: download it as well.")
  return read_file(files[0])


def read_file(path):
  """{name: LazyArray} of one file. Raises ValueError if the file is cut short or of another format."""
  path = pathlib.Path(path)
  size = path.stat().st_size
  with open(path, "rb") as f:
    start = f.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= _HEADER_LIMIT:
      raise ValueError(f"{path} is no safetensors file: {_look(start, path)}")
    header = f.read(length)
  if len(header) < length:
    raise ValueError(f"{path} is cut short: it ends after {size} bytes, inside its header of "
                     f"{length} bytes. Download it again.")
  try:
    entries = json.loads(header)
    entries.pop("__metadata__", None)
    leaves = {name: _leaf(path, size, 8 + length, name, **e) for name, e in entries.items()}
  except (TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as e:
    raise ValueError(f"{path} is damaged: its header is no table of tensors ({e}). Download it "
                     "again.") from None
  return leaves


def _look(start, path):
  if start.startswith(b"version "):
    return ("it is a Git LFS pointer, the text that stands for the file: run `git lfs pull` in "
            f"{path.parent}.")
  return f"it begins with {start!r}. Download it again."


def _leaf(path, size, data, name, dtype, shape, data_offsets):
  if dtype not in DTYPES:
    raise ValueError(f"{path} holds {name!r} as {dtype}, which is not read. Known: "
                     f"{', '.join(DTYPES)}.")
  dtype, shape, (begin, end) = DTYPES[dtype], tuple(shape), data_offsets
  if end - begin != math.prod(shape) * dtype.itemsize or begin < 0:
    raise ValueError(f"{path} is damaged: {name!r}, {dtype} {list(shape)}, should take "
                     f"{math.prod(shape) * dtype.itemsize} bytes, not {end - begin}.")
  if data + end > size:
    raise ValueError(f"{path} is cut short: {name!r} lies at bytes {data + begin} to {data + end} "
                     f"of a file of {size}. Download it again.")

  def read(index=()):
    """Reads the rows asked for, and no others, as far as the index is integers and one slice."""
    offset, inner, rest = data + begin, shape, tuple(index)
    while rest and isinstance(rest[0], (int, np.integer)):
      i = range(inner[0])[rest[0]]
      inner, rest = inner[1:], rest[1:]
      offset += i * math.prod(inner) * dtype.itemsize
    if rest and isinstance(rest[0], slice) and rest[0].step in (None, 1):
      first, last, _ = rest[0].indices(inner[0])
      offset += first * math.prod(inner[1:]) * dtype.itemsize
      inner, rest = (max(last - first, 0), *inner[1:]), (slice(None), *rest[1:])
    return _read_at(path, name, offset, inner, dtype)[rest]

  return LazyArray(shape, dtype, read)


def _read_at(path, name, offset, shape, dtype):
  out = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
  with open(path, "rb", buffering=0) as f:
    f.seek(offset)
    view, done = memoryview(out), 0
    while done < len(out):  # Linux reads at most 2 GiB at once
      n = f.readinto(view[done:])
      if not n:
        raise ValueError(f"{path} was cut while it was read: {name!r} is not whole any more.")
      done += n
  return out.view(dtype).reshape(shape)


def write_folder(folder, tensors, note=lambda done, total: None, max_shard=MAX_SHARD):
  """Writes {name: LazyArray} as one file, or as shards of at most max_shard bytes with their index.

  A tensor larger than max_shard is a shard of its own. Tensors are read one at a time, in the
  order of the dict. note(done, total): called as bytes are written.
  """
  folder = pathlib.Path(folder)
  shards, total = [[]], sum(leaf.nbytes for leaf in tensors.values())
  filled = 0
  for name, leaf in tensors.items():
    if shards[-1] and filled + leaf.nbytes > max_shard:
      shards.append([])
      filled = 0
    shards[-1].append(name)
    filled += leaf.nbytes
  files = ["model.safetensors"] if len(shards) == 1 else [
      f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
  done = 0
  for file, names in zip(files, shards):
    for n in write_file(folder / file, {name: tensors[name] for name in names}):
      done += n
      note(done, total)
  if len(shards) > 1:
    weight_map = {name: file for file, names in zip(files, shards) for name in names}
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def write_file(path, tensors):
  """Writes {name: LazyArray} to one file; yields the number of bytes of each block written."""
  names = sorted(tensors, key=lambda n: -tensors[n].dtype.itemsize)  # keeps each one aligned
  header, at = {"__metadata__": {"format": "pt"}}, 0
  for name in names:
    leaf = tensors[name]
    if leaf.dtype not in _NAMES:
      raise ValueError(f"safetensors has no dtype for {name!r}: {leaf.dtype}.")
    header[name] = {"dtype": _NAMES[leaf.dtype], "shape": list(leaf.shape),
                    "data_offsets": [at, at + leaf.nbytes]}
    at += leaf.nbytes
  text = json.dumps(header, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)
  with open(path, "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text)
    for name in names:
      yield from _write(f, tensors[name].read(()))


def _write(file, tensor):
  rows = tensor.reshape(-1) if tensor.ndim < 2 else tensor
  per_row = max(1, rows[:1].nbytes)
  step = max(1, _BLOCK // per_row)
  for i in range(0, len(rows), step):
    block = np.ascontiguousarray(rows[i:i + step])
    file.write(block.reshape(-1).view(np.uint8))
    yield block.nbytes
