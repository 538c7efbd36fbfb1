"""The files of a complete folder: manifest.json, {"files": {name: [bytes, crc32]}}.

Array files have no checksums of their own: without this a flipped bit would be trained on.
"""
import concurrent.futures
import json
import zlib

from etils import epath

from big_vlm import files
from pp.foreign import parse_json, read_bytes

NAME = "manifest.json"
# Written before the manifest and once more after it, with the time of the commit.
CHANGING = "_CHECKPOINT_METADATA"
MAX_BYTES = 64 << 20  # of a manifest; a file takes 100
PIECE = 2**24  # bytes read at once
THREADS = 4


def write(folder):
  """Writes the manifest of all files that are in the folder now."""
  folder = epath.Path(folder)
  names = sorted(_names(folder))
  with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    sums = pool.map(lambda name: None if name.endswith(CHANGING) else _sum(folder / name), names)
    files.write_atomic(folder / NAME, json.dumps({"files": dict(zip(names, sums))}))


def exists(folder):
  return (epath.Path(folder) / NAME).exists()


def validation_error(folder, only=""):
  """Where the folder differs from its manifest, in a few words, or None.

  only: the start of the names of the files to look at, such as "params/".
  """
  folder = epath.Path(folder)
  try:
    listed = parse_json(read_bytes(files.inside(folder, NAME), MAX_BYTES), NAME)["files"]
    names = [n for n in listed.keys() if n.startswith(only) or "/" not in n]
    paths = {name: epath.Path(files.inside(folder, name)) for name in names}
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
    return f"{NAME} is corrupt ({e})"

  def error(name):
    path, expected = paths[name], listed[name]
    if not path.exists():
      return f"{name} is missing"
    if expected is None:
      try:
        return json.loads(path.read_text()) and None
      except ValueError:
        return f"{name} is corrupt"
    if not (isinstance(expected, list) and len(expected) == 2):
      return f"{NAME} is corrupt ({name})"
    if (length := path.stat().length) != expected[0]:
      return f"{name} has {length} of {expected[0]} bytes"
    return None if _sum(path) == expected else f"{name} is corrupt: its checksum differs"
  with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    return next((words for words in pool.map(error, names) if words), None)


def _names(folder, prefix=""):
  for path in folder.iterdir():
    if path.is_dir():
      yield from _names(path, f"{prefix}{path.name}/")
    elif path.name != NAME:
      yield prefix + path.name


def _sum(path):
  size = crc = 0
  with path.open("rb") as f:
    while piece := f.read(PIECE):
      size, crc = size + len(piece), zlib.crc32(piece, crc)
  return [size, crc]
