"""Files that others wrote: one bounded JSON parser, and one road from exception to sentence."""
import contextlib
import json
import os
import pathlib
import stat

MAX_VALUES = 4_000_000  # brackets, commas and colons of a JSON: twice those of Gemma 3's tokenizer


@contextlib.contextmanager
def reading(path):
  """Whatever a library raises on reading `path` becomes one ValueError that names it.

  ValueErrors and OSErrors that name the path already pass as they are.
  """
  try:
    yield
  except BaseException as e:
    panic = type(e).__name__ == "PanicException"  # of Rust, no Exception
    named = isinstance(e, (ValueError, OSError)) and os.path.basename(str(path)) in str(e)
    if named or not (panic or isinstance(e, Exception)):
      raise
    words = " ".join(str(e).split())[:300].rstrip(".") or "no reason given"
    raise ValueError(f"{path} cannot be read: it is corrupt or of another format "
                     f"({type(e).__name__}: {words}). Copy or download it again.") from None


def parse_json(data, where):
  """The value of UTF-8 bytes, strict as to what JSON leaves open; where: the file, for messages.

  Raises ValueError for bad syntax, a key twice in one object, NaN, deep nesting, and what would
  take hundreds of MiB.
  """
  def unique(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
      names = [name for name, _ in pairs]
      twice = next(name for name in names if names.count(name) > 1)
      raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found

  def constant(name):
    raise ValueError(f"{name} is not a number of JSON")
  try:
    if sum(data.count(c) for c in (b"[", b"{", b",", b":")) > MAX_VALUES:
      raise ValueError(f"it holds more than {MAX_VALUES:,} values")
    return json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique, parse_constant=constant)
  except json.JSONDecodeError as e:
    raise ValueError(f"{where}, line {e.lineno}, column {e.colno}: not valid JSON ({e.msg}). "
                     "Download it again.") from None
  except UnicodeDecodeError as e:
    raise ValueError(f"{where} is not text ({e}). Download it again.") from None
  except RecursionError:
    raise ValueError(f"{where} is not valid JSON: it is nested too deeply.") from None
  except ValueError as e:
    raise ValueError(f"{where} is not valid JSON: {e}.") from None


def read_bytes(path, most):
  """The bytes of a regular file of at most `most` bytes; path: pathlib's or etils'.

  Raises OSError, or ValueError for a device, fifo or larger file, before it is opened.
  """
  if isinstance(path, pathlib.Path):
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
      raise ValueError(f"{path} is not a regular file and is not opened.")
    size = found.st_size
  else:
    size = path.stat().length
  if size > most:
    raise ValueError(f"{path} has {size:,} bytes; at most {most:,} are read.")
  return path.read_bytes()
