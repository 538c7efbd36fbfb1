"""What files a folder held when it was whole: manifest.json, {"files": {name: [bytes, crc32]}}.

Array files have no checksums of their own: without this a flipped bit would be trained on.
"""
import concurrent.futures
import json
import zlib

from etils import epath

NAME = "manifest.json"
# Written before the manifest and once more after it, with the time of the commit.
CHANGING = "_CHECKPOINT_METADATA"
PIECE = 2**24  # bytes read at once
THREADS = 4


def write(folder):
  """Writes the manifest of all files that are in the folder now."""
  folder = epath.Path(folder)
  names = sorted(_names(folder))
  with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    sums = pool.map(lambda name: _sum(folder / name), names)
  files = {name: None if name.endswith(CHANGING) else found
           for name, found in zip(names, sums)}
  (folder / NAME).write_text(json.dumps({"files": files}))


def exists(folder):
  return (epath.Path(folder) / NAME).exists()


def fault(folder, only=""):
  """What is wrong with the folder, in a few words; None if it is as its manifest says or has none.

  only: the start of the names of the files to look at, such as "params/".
  """
  folder = epath.Path(folder)
  if not exists(folder):
    return None
  try:
    files = json.loads((folder / NAME).read_text())["files"]
  except (ValueError, KeyError, TypeError) as e:
    return f"{NAME} is damaged ({e})"
  names = [n for n in files if n.startswith(only) or "/" not in n]
  with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    found = pool.map(lambda name: _fault(folder / name, name, files[name]), names)
    return next((words for words in found if words), None)


def _fault(path, name, expected):
  if not path.exists():
    return f"{name} is missing"
  if expected is None:
    try:
      return json.loads(path.read_text()) and None
    except ValueError:
      return f"{name} is damaged"
  size, crc = expected
  if (is_ := path.stat().length) != size:
    return f"{name} has {is_} of {size} bytes"
  return None if _sum(path)[1] == crc else f"{name} is damaged: its checksum differs"


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
  return size, crc
