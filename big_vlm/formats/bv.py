"""big_vision's folders of tensorstore, read array by array.

    W/checkpoint.bv-000001000/     a kept step; ...-tmp/ one that the next save removes
    W/checkpoint.bv-LAST           the suffix of the newest whole one
    .../params~img~head~bias/      one folder an array, "~" for "/": zarr v2, .zarray and chunks

There is no list of names: the folder is it. A chunk that is missing would read as zeros, and is an
error here.
"""
import itertools
import math
import pathlib
import re

import numpy as np
from etils import epy

from big_vlm import files
from big_vlm.formats.lazy_array import LazyArray
from pp.foreign import most_unpacked, parse_json, read_bytes
from pp.printable import printable

with epy.lazy_imports():  # slow to import
  import tensorstore

SUFFIX, LAST, ARRAY = ".bv", "-LAST", ".zarray"
MAX_BYTES = 1 << 20  # of a small file
WORD = 64  # characters of a suffix
MAX_CHUNKS = 100_000  # of an array; big_vision writes one for each shard
# What big_vision writes of parameters; another value would be damage, and would change numbers.
WRITTEN = {"dtype": ("<f4", "bfloat16", "<f2"), "order": ("C",), "filters": (None,),
           "fill_value": (None,), "zarr_format": (2,)}

COUNT = "<i4"  # of an optimizer's updates


def located(path):
  """The folder of a step that "W/checkpoint.bv" or its "-LAST" means; other paths unchanged.

  Raises FileNotFoundError where the step is gone, and ValueError for a damaged -LAST.
  """
  alias = str(path).removesuffix(LAST)
  last = pathlib.Path(alias + LAST).expanduser()
  if not alias.endswith(SUFFIX) or not last.is_file():
    return str(path)
  suffix = read_bytes(last, MAX_BYTES).decode(errors="replace").strip()
  if not suffix or len(suffix) > WORD or not suffix.replace("-", "").isalnum():
    raise ValueError(f"{last} is damaged: it is {suffix[:WORD]!r}, not the suffix of a step. Give "
                     f"a step's folder, {alias}-000001000.")
  folder = f"{alias}-{suffix}"
  if not pathlib.Path(folder).expanduser().is_dir():
    raise FileNotFoundError(f"{last} names the step {suffix}, but there is no folder {folder}: its "
                            "copy was cut short. Give another step's folder.")
  return folder


def split_part(path):
  """("W/x.bv-1", "img/head") of "W/x.bv-1:img/head", by which a part is meant; (path, "")."""
  found = re.fullmatch(r"(.*\.bv(?:-[\w-]+)?):([\w/]+)", str(path))
  return found.groups() if found else (str(path), "")


def is_folder(path):
  """Whether path is the folder of a step, whole or not."""
  path = pathlib.Path(path)
  return path.is_dir() and any(path.glob("params~*"))


def read_folder(folder, root=""):
  """{name: LazyArray} of the arrays whose names begin with root. Raises ValueError, which names the
  array, for a damaged one."""
  entries = {entry.name.replace("~", "/"): entry for entry in sorted(pathlib.Path(folder).iterdir())
             if entry.is_dir()}
  return {name: _leaf(entry) for name, entry in entries.items() if name.startswith(root)}


def _leaf(entry):
  where = f"{entry.parent}: the array {entry.name}"
  file, sizes = files.inside(entry.parent, f"{entry.name}/{ARRAY}"), files.sizes_inside(entry)
  try:
    described = parse_json(read_bytes(file, MAX_BYTES), file)
    counts = (COUNT,) * entry.name.startswith("opt~")
    if odd := [key for key, known in WRITTEN.items() if described[key] not in known + (
        counts if key == "dtype" else ())]:
      raise ValueError(f"{odd[0]} is {printable(str(described[odd[0]]), 80)}, not "
                       f"{' or '.join(map(str, WRITTEN[odd[0]]))}")
    shape, chunks = (tuple(int(n) for n in described[key]) for key in ("shape", "chunks"))
    separator = described.get("dimension_separator", ".")
    store = tensorstore.open(
        {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{entry}/"}},
        open=True, read=True).result()
    dtype = np.dtype(store.dtype.numpy_dtype)
  except Exception as e:  # tensorstore's own kinds among them
    line = str(e).splitlines()[0] if str(e) else type(e).__name__
    raise ValueError(f"{where} cannot be opened ({line[:200]}). Copy the checkpoint again.") from e
  grid = [-(-n // c) for n, c in zip(shape, chunks)]
  stored, count = sum(sizes.values()), math.prod(grid)
  unpacked = count * math.prod(chunks) * dtype.itemsize
  # Moments of an optimizer may be zeros but for a few rows, and are compared with the parameters.
  dense = not entry.name.startswith("opt~")
  if (count > MAX_CHUNKS or any(c > max(n, 1) for n, c in zip(shape, chunks))
      or dense and unpacked > most_unpacked(stored)):
    raise ValueError(f"{where} would grow from {stored:,} to {unpacked:,} bytes and is refused.")
  lacking = (chunk for at in itertools.product(*map(range, grid))
             if (chunk := separator.join(map(str, at)) or "0") not in sizes)
  if (chunk := next(lacking, None)) is not None:
    raise ValueError(f"{where} lacks its chunk {chunk}, which would be read as zeros. Copy the "
                     "checkpoint again.")

  def read(index=()):
    try:
      return np.asarray(store[tuple(index)].read().result() if index else store.read().result())
    except Exception as e:
      raise ValueError(f"{where} is damaged ({str(e).splitlines()[0][:200]}). Copy the checkpoint "
                       "again.") from e
  return LazyArray(shape, dtype, read)
