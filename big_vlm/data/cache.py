"""Files from elsewhere that are kept on this machine: a folder of bounded size for all processes.

~/.cache/big_vlm, or $BIG_VLM_CACHE. Its downloads hold $BIG_VLM_CACHE_GB GB at most (DEFAULT_GB);
beyond that those go whose last use is longest ago.
"""
import contextlib
import os
import pathlib
import threading
import time

from big_vlm import files

DEFAULT_GB = 50
LEFT = 0.9  # of the limit, which remain when files have to go
COUNTED = 1000  # writes after which a process counts the files again: others write too
_lock, _known = threading.Lock(), {}  # {folder: [bytes, writes since they were counted]}


def folder():
  """The folder of all that is kept."""
  return pathlib.Path(os.environ.get("BIG_VLM_CACHE") or "~/.cache/big_vlm").expanduser()


def limit():
  """Bytes that the downloads may hold; ValueError for a $BIG_VLM_CACHE_GB that is no number."""
  text = os.environ.get("BIG_VLM_CACHE_GB") or str(DEFAULT_GB)
  try:
    value = float(text)
    if value > 0:
      return int(value * 1e9)
  except ValueError:
    pass
  raise ValueError(f"BIG_VLM_CACHE_GB={text!r} is not a number of GB above 0.")


def read(path):
  """The bytes of a file of the cache, which is used now; None where there is none."""
  try:
    data = path.read_bytes()
  except FileNotFoundError:
    return None
  touch(path)
  return data


def touch(path):
  """Notes that a file is used now; False where there is none."""
  with contextlib.suppress(OSError):
    os.utime(path)
    return True
  return path.exists()


@contextlib.contextmanager
def writing(path, spare=0.):
  """Gives the path of a file to write, which is then the file `path` of the cache, whole.

  spare: seconds since their last use for which files of its folder stay whatever the limit is.
  """
  with files.replacing(path) as part:
    yield part
    size = part.stat().st_size
  with _lock:
    known = _known.setdefault(path.parent, [0, COUNTED])
    known[0], known[1] = known[0] + size, known[1] + 1
    if known[1] >= COUNTED or known[0] > limit():
      known[:] = _trim(path.parent, spare), 0


def _trim(folder, spare):
  """Removes the files whose use is longest ago from a folder above the limit; returns its bytes."""
  found = []
  with os.scandir(folder) as entries:
    for entry in entries:
      with contextlib.suppress(OSError):  # another process may have been faster
        found.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
  total, most = sum(size for _, size, _ in found), limit()
  if total > most:
    for used, size, path in sorted(found)[:-1]:  # the newest may be larger than all
      if total <= LEFT * most or used > time.time() - spare or path.endswith(".part"):
        continue
      with contextlib.suppress(OSError):
        os.unlink(path)
        total -= size
  return total
