"""What an .h5 file holds, told by a process of its own.

In some damaged files the HDF5 library finds no end, takes all memory or crashes, in C, where
nothing interrupts it. So a child of this process looks first, within SECONDS of processor time and
MEGABYTES; it answers further questions in milliseconds, and ends after IDLE seconds without one.
This file runs as the child's script, which imports nothing else of the project.
"""
import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading

SECONDS, MEGABYTES, IDLE = 5, 2000, 30
MAX_DEPTH, MAX_ITEMS = 32, 100_000  # of groups, and of groups and datasets
_lock, _child = threading.Lock(), None


def survey(path):
  """{dataset name: (shape, numpy's dtype string, or "bfloat16")} of an .h5 file.

  Raises ValueError, which names the file, for a damaged one and for what Keras never writes.
  """
  global _child
  with _lock:
    if _child is None or _child.poll() is not None:
      # -P: the folder of this file, first on sys.path, would hide other packages.
      _child = subprocess.Popen([sys.executable, "-P", __file__], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
      _child.stdin.write(json.dumps([os.path.abspath(path), SECONDS]).encode() + b"\n")
      _child.stdin.flush()
      answer = _child.stdout.readline()
    except OSError:  # it has just ended
      answer = b""
    if not answer:
      _child.wait()
      _child.stdin.close()
      _child.stdout.close()
      _child = None
      answer = b'{"damage": "the HDF5 library crashes on it, or finds no end"}'
  found = json.loads(answer)
  if "refused" in found:
    raise ValueError(f"{path}: {found['refused']}, which Keras never writes and which is refused.")
  if "damage" in found:
    raise ValueError(f"{path} is not a complete .h5 file: it is cut short or corrupt "
                     f"({found['damage']}). Copy or download the file again.")
  return {name: (tuple(shape), dtype) for name, (shape, dtype) in found["datasets"].items()}


def _answer(path, h5py):
  """What the child finds: {"datasets": ...}, {"refused": ...} or {"damage": ...}."""
  leaves, seen = {}, set()

  def visit(group, prefix, depth):
    for name in group:
      at, link = f"{prefix}{name}", group.get(name, getlink=True)
      problem = ("is nested too deeply" if depth > MAX_DEPTH else
                 "is one of too many" if len(seen) > MAX_ITEMS else
                 "is a link" if not isinstance(link, h5py.HardLink) else "")
      item = None if problem else group[name]
      address = item and h5py.h5o.get_info(item.id).addr
      if address in seen:
        problem = "is a second name of one item"
      seen.add(address)
      problem = problem or isinstance(item, h5py.Dataset) and _problem(item) or ""
      if problem:
        return f"{at[:80]!r} {problem}"
      if isinstance(item, h5py.Group):
        if found := visit(item, f"{at}/", depth + 1):
          return found
      else:
        bfloat16 = item.attrs.get("dtype") == "bfloat16"
        leaves[at] = (item.shape, "bfloat16" if bfloat16 else item.dtype.str)
    return None
  try:
    with h5py.File(path, "r") as f:
      problem = visit(f, "", 0)
  except Exception as e:  # h5py raises many kinds
    return {"damage": " ".join(str(e).split())[:300]}
  return {"refused": problem} if problem else {"datasets": leaves}


def _problem(item):
  """What of a dataset is not as Keras writes it, or None."""
  if item.external or item.is_virtual:
    return "has its data in another file"
  if item.dtype.kind not in "fiub" and not (
      item.dtype == "V2" and item.attrs.get("dtype") == "bfloat16"):
    return f"is of the type {str(item.dtype)[:40]}"
  stored = item.id.get_storage_size()
  if item.chunks:
    chunks = math.prod(-(-n // c) for n, c in zip(item.shape, item.chunks))
    if item.id.get_num_chunks() != chunks:
      return "lacks some of its data"
    if item.nbytes > max(100 * stored, 64 << 20):
      return f"would grow from {stored:,} to {item.nbytes:,} bytes"
  elif stored != item.nbytes:
    return f"has {stored:,} of its {item.nbytes:,} bytes"
  return None


def _serve():
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
  import h5py  # here: the parent imports it when it reads
  resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  _, most = resource.getrlimit(resource.RLIMIT_CPU)
  signal.alarm(IDLE)
  for line in sys.stdin:
    signal.alarm(0)
    (path, seconds), used = json.loads(line), sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used) + seconds, most))
    print(json.dumps(_answer(path, h5py)), flush=True)
    signal.alarm(IDLE)


if __name__ == "__main__":
  _serve()
