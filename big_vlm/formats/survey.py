"""What an .h5 or .parquet file holds, told by a process of its own.

In some damaged files the libraries find no end, take all memory or crash, in C and C++, where
nothing interrupts them. So a child of this process looks first, within SECONDS of processor time
and MEGABYTES; it answers further questions in milliseconds, and ends after IDLE seconds without
one. This file runs as the child's script, which imports nothing else of the project.
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


def h5(path):
  """{dataset name: (shape, numpy's dtype string, or "bfloat16")} of an .h5 file.

  Raises ValueError, which names the file, for a damaged one and for what Keras never writes.
  """
  found = _ask("h5", path)
  return {name: (tuple(shape), dtype) for name, (shape, dtype) in found["datasets"].items()}


def parquet(path, leaves):
  """Rows of a .parquet file in which one of the leaves, columns' paths such as "image.bytes", is
  null, as far as its statistics tell. Raises ValueError, which names the file, for a damaged one.
  """
  return _ask("parquet", path, leaves)["nulls"]


def _ask(kind, path, *more):
  global _child
  with _lock:
    if _child is None or _child.poll() is not None:
      # -P: the folder of this file, first on sys.path, would hide other packages.
      _child = subprocess.Popen([sys.executable, "-P", __file__], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
      _child.stdin.write(json.dumps([SECONDS, kind, os.path.abspath(path), *more]).encode() + b"\n")
      _child.stdin.flush()
      answer = _child.stdout.readline()
    except OSError:  # it has just ended
      answer = b""
    if not answer:
      late = _child.wait() == -signal.SIGXCPU
      _child.stdin.close()
      _child.stdout.close()
      _child = None
      answer = b'{"late": true}' if late else b'{"damage": "the library crashes on it"}'
  found = json.loads(answer)
  if "refused" in found:
    raise ValueError(f"{path}: {found['refused']}, which Keras never writes and which is refused.")
  if "late" in found:
    raise ValueError(f"What {path} holds cannot be told in {SECONDS} s of processor time. Either "
                     "it is damaged, and the library finds no end: copy or download it again. Or "
                     "it has very many row groups or datasets: write it with fewer.")
  if "damage" in found:
    raise ValueError(f"{path} is not a complete .{kind} file: it is cut short or corrupt "
                     f"({found['damage']}). Copy or download the file again.")
  return found


def _answer_parquet(path, leaves):
  """{"nulls": ...}."""
  from pyarrow import parquet  # here and below: one child needs one of them
  footer, nulls = parquet.read_metadata(path), 0
  columns = [i for i in range(footer.num_columns) if footer.schema.column(i).path in leaves]
  for g in range(footer.num_row_groups):
    group = footer.row_group(g)
    for column in map(group.column, columns):
      found = column.statistics
      nulls += found.null_count if found and found.has_null_count else 0
  return {"nulls": nulls}


def _answer_h5(path):
  """{"datasets": ...}, or {"refused": ...}."""
  import h5py
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
  with h5py.File(path, "r") as f:
    problem = visit(f, "", 0)
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
  resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  _, most = resource.getrlimit(resource.RLIMIT_CPU)
  signal.alarm(IDLE)
  for line in sys.stdin:
    signal.alarm(0)
    (seconds, kind, *asked), used = json.loads(line), sum(
        resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used) + seconds, most))
    try:
      found = {"h5": _answer_h5, "parquet": _answer_parquet}[kind](*asked)
    except Exception as e:  # the libraries raise many kinds
      found = {"damage": " ".join(str(e).split())[:300]}
    print(json.dumps(found), flush=True)
    signal.alarm(IDLE)


if __name__ == "__main__":
  _serve()
