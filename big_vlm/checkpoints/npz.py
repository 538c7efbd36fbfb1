"""big_vision's .npz files: one array per leaf, key = its path in the parameter tree.

Keys start with "params/", "opt/target/" or nothing; FILE.npz:sub/tree takes a part. Arrays are
float32, float16 or bfloat16 (stored by numpy as 2-byte void); uncompressed ones are memory-mapped.
The file says nothing of the model: it is told from shapes, unless the folder FILE.model lies beside
it, in which write() leaves model.json and the tokenizer.
"""
import math
import os
import pathlib
import re
import struct
import threading
import zipfile
import zlib

import ml_dtypes
import numpy as np

from big_vlm.checkpoints import infer, native
from big_vlm.checkpoints.checkpoint import Checkpoint, LazyArray
from big_vlm.families import paligemma
from big_vlm.formats import param_map
from pp import tokenizer_files

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
ROOTS = {"embedder": "llm/", "embedding": "img/"}  # of files that hold one tower without its name


def claims(path):
  return _split(path)[0].suffix == ".npz"


def _split(path):
  """("x.npz", "sub/tree") of "x.npz:sub/tree"."""
  file, _, part = str(path).partition(".npz:")
  return (pathlib.Path(file + ".npz"), part) if part else (pathlib.Path(path), "")


def open_source(path):
  """Raises ValueError for a damaged file, naming it and the leaf, and FileNotFoundError."""
  file, part = _split(path)
  leaves = tree_of(read(file), part, path)
  beside = file.with_suffix(".model")
  if beside.exists():
    _, _, config, tokenizer, _ = native.read_model(beside)
    return Checkpoint(str(path), paligemma.config(**config), leaves, tokenizer)
  config = infer.config({name: leaf.shape for name, leaf in leaves.items()}, path)
  return Checkpoint(str(path), config, leaves,
                tokenizer_files.find(file.parent, multimodal=config.img is not None))


def read(file):
  """{key: LazyArray} of an npz file."""
  try:
    with zipfile.ZipFile(file) as archive:
      return {info.filename.removesuffix(".npy"): _member(file, archive, info)
              for info in archive.infolist()}
  except zipfile.BadZipFile as e:
    size = os.path.getsize(file)
    raise ValueError(f"{file} ({size:,} bytes) is not a whole .npz file ({e}): its end is missing "
                     "or it is something else. Copy or download it again.") from e


def _member(file, archive, info):
  with archive.open(info) as f:
    try:
      version = np.lib.format.read_magic(f)
      header = (np.lib.format.read_array_header_1_0 if version == (1, 0)
                else np.lib.format.read_array_header_2_0)
      shape, fortran, dtype = header(f)
      start = f.tell()
    except ValueError as e:
      raise ValueError(f"{file}: {info.filename} is damaged, it does not begin as an array ({e}). "
                       "Copy or download the file again.") from e
  if dtype.hasobject:
    raise ValueError(f"{file}: {info.filename} holds Python objects, not numbers; such a file is "
                     "refused, since reading it could run code.")
  as_is = BFLOAT16 if dtype == np.dtype("V2") else dtype
  order = "F" if fortran else "C"
  checked = threading.Event()

  def mapped():
    with open(file, "rb") as f:
      f.seek(info.header_offset)
      local = f.read(30)
      at = info.header_offset + 30 + sum(struct.unpack("<HH", local[26:30]))
    if not math.prod(shape):
      return np.zeros(shape, dtype)
    if not checked.is_set():
      _check(file, info, np.memmap(file, np.uint8, "r", at, (info.file_size,)))
      checked.set()
    return np.memmap(file, dtype, "r", at + start, shape, order)

  def unpacked():
    try:
      with zipfile.ZipFile(file) as archive, archive.open(info) as f:
        return np.lib.format.read_array(f, allow_pickle=False)
    except (zipfile.BadZipFile, zlib.error, ValueError) as e:
      raise ValueError(_damaged(file, info)) from e

  array = mapped if info.compress_type == zipfile.ZIP_STORED else unpacked
  return LazyArray(shape, as_is, lambda index=(): array().view(as_is)[tuple(index)])


def _check(file, info, data, chunk=1 << 24):
  crc = 0
  for i in range(0, len(data), chunk):
    crc = zlib.crc32(data[i:i + chunk], crc)
  if crc != info.CRC:
    raise ValueError(_damaged(file, info))


def _damaged(file, info):
  return (f"{file}: {info.filename.removesuffix('.npy')} is damaged, its bytes do not match their "
          "checksum. Copy or download the file again.")


def tree_of(leaves, part, path):
  """Leaves under the names of our tree, of those keys that are parameters."""
  for root in ("opt/target/", "params/"):
    if any(name.startswith(root) for name in leaves):
      leaves = {n.removeprefix(root): x for n, x in leaves.items() if n.startswith(root)}
  if part:
    leaves = {n.removeprefix(part + "/"): x for n, x in leaves.items() if n.startswith(part + "/")}
    if not leaves:
      raise ValueError(f"{path}: there is nothing under {part!r} in the file.")
  for first, root in ROOTS.items():
    if any(name.startswith(first + "/") for name in leaves):
      leaves = {root + n: x for n, x in leaves.items()}
  # A contrastive SigLIP has a text tower, a temperature and a bias beside its image tower.
  leaves = {n: x for n, x in leaves.items() if not re.match(r"txt/|t$|b$", n)}
  old = "img/Transformer/posembed_input/pos_embedding"  # before 2022
  leaves = {n.replace(old, "img/pos_embedding"): x for n, x in leaves.items()}
  return _stacked(leaves, path)


def _stacked(leaves, path):
  """encoderblock_0, encoderblock_1, ... as one encoderblock with a leading layer axis."""
  depth = 1 + max((int(m[1]) for n in leaves if (m := re.search(r"/encoderblock_(\d+)/", n))),
                  default=-1)
  blocks = {n: x for n, x in leaves.items() if "/encoderblock_" in n}
  rows = [param_map.ParamMapping(n.replace("_0/", "/", 1), n.replace("_0/", "_{}/", 1), axes=(range(depth),))
          for n in blocks if "/encoderblock_0/" in n]
  shapes = {r.ours: (depth, *leaves[r.theirs.format(0)].shape) for r in rows}
  rest = {n: x for n, x in leaves.items() if n not in blocks}
  return rest | param_map.import_(rows, blocks, shapes, path)


def write(path, source, note):
  """Writes path (.npz), streaming, and the folder .model beside it."""
  path, done = pathlib.Path(path), 0
  total = source.nbytes
  beside = path.with_suffix(".model")
  beside.mkdir()
  native.write_model(beside, paligemma.to_dict(source.config), source.tokenizer)
  with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
    for name, leaf in sorted(source.leaves.items()):
      stored = np.dtype("V2") if leaf.dtype == BFLOAT16 else leaf.dtype
      with archive.open(f"params/{name}.npy", "w", force_zip64=True) as f:
        np.lib.format.write_array_header_1_0(f, {
            "descr": np.lib.format.dtype_to_descr(stored), "fortran_order": False,
            "shape": leaf.shape})
        for index in [(i,) for i in range(leaf.shape[0])] if len(leaf.shape) > 2 else [()]:
          x = np.ascontiguousarray(leaf.read(index))
          f.write(x.reshape(-1).view(np.uint8).data)
          done += x.nbytes
          note(done, total)
