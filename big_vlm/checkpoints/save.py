"""Writes a Checkpoint in a format: complete or not at all, and only where there is room."""
import contextlib
import glob
import os
import pathlib
import shutil
import tempfile
import time

from big_vlm.checkpoints.load import FORMATS
from big_vlm.files import LEFT
from pp.names import pick

FILES = ("npz", "openpi")  # formats that are one file
SLACK = 64 << 20  # bytes for configs, tokenizer and file headers


def save(source, path, format, note=lambda done, total: None, beside=None):
  """Writes `path` ("native", "hf", "keras": a folder; "npz", "openpi": a file), then returns it.

  note(done, total) is called with bytes. beside: {name: text} of further files in the folder.
  Raises as written_whole() does.
  """
  module, path = pick(FORMATS, format, "checkpoint format"), pathlib.Path(path).expanduser()
  if format in FILES and path.suffix != ".npz":
    raise ValueError(f"{path} must end in .npz.")
  # The native format keeps quantized weights as they are.
  size = source.stored_nbytes if format == "native" else source.nbytes
  with written_whole(path, size) as partial:
    if format not in FILES:
      partial.mkdir()
    module.write(partial, source, note)
    for name, text in (beside or {}).items():
      (partial / name).write_text(text, encoding="utf-8")
  return path


@contextlib.contextmanager
def written_whole(path, nbytes):
  """Gives a path of the same name to write a file or folder, which appears as `path` at the end of
  the block, with what was written beside it.

  Raises FileExistsError if there is something already, and OSError if the disk has no room.
  """
  check_free(path)
  _remove_left(path)
  check_room(path.parent, nbytes)
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
  try:
    yield partial / path.name
    for part in sorted(partial.iterdir(), key=lambda p: p.name == path.name):  # the checkpoint last
      os.replace(part, path.parent / part.name)
  except OSError as e:
    raise OSError(f"Writing {path} failed: {e.strerror or e}. Nothing was left there.") from e
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def check_free(path):
  """Raises FileExistsError where there is something at `path` already."""
  if (path := pathlib.Path(path).expanduser()).exists():
    raise FileExistsError(f"{path} exists already; give another path, or remove it first.")


def _remove_left(path):
  """Removes what killed processes left of `path`; names what may still be written."""
  for left in path.parent.glob(f".{glob.escape(path.name)}.partial-*"):
    with contextlib.suppress(OSError):  # another process may have been faster
      if time.time() - max(p.stat().st_mtime for p in [left, *left.rglob("*")]) > LEFT:
        shutil.rmtree(left)
      else:
        print(f"{left} is of another export to {path.name}, or of one that was killed: remove it, "
              "if none is running.")


def check_room(folder, size):
  """Raises OSError unless `size` bytes fit on the disk of the folder."""
  folder = next(p for p in [folder, *folder.absolute().parents] if p.exists())
  free = shutil.disk_usage(folder).free
  if free < size + SLACK:
    raise OSError(f"The checkpoint needs {(size + SLACK) / 2**30:.1f} GiB and {folder} has "
                  f"{free / 2**30:.1f} GiB free. Make room or give another place.")
