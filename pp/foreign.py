"""Files that others wrote: one bounded JSON parser, and one road from exception to sentence."""
import collections
import contextlib
import errno
import gzip
import json
import os
import pathlib
import stat
import zlib

from pp.printable import MOST_OF_LINE, printable_lines

# What is unpacked may be so many times as large (text is 20, weights 2), and so many bytes anyway.
MAX_GROWTH, MAY_GROW = 100, 64 << 20
MAX_VALUES = 4_000_000  # brackets, commas and colons of a JSON: twice those of Gemma 3's tokenizer


@contextlib.contextmanager
def reading(path):
  """Whatever a library raises on reading `path` becomes one ValueError that names it.

  ValueErrors and OSErrors that name the path already pass, with lines of MOST_OF_LINE characters.
  """
  try:
    yield
  except BaseException as e:
    panic = type(e).__name__ == "PanicException"  # of Rust, no Exception
    named = isinstance(e, (ValueError, OSError)) and os.path.basename(str(path)) in str(e)
    if named and max(map(len, str(e).split("\n"))) > MOST_OF_LINE:  # a value in it has megabytes
      raise type(e)(printable_lines(e)) from None
    if named or not (panic or isinstance(e, Exception)):
      raise
    words = " ".join(str(e).split())[:300].rstrip(".") or "no reason given"
    raise ValueError(f"{path} cannot be read: it is corrupt or of another format "
                     f"({type(e).__name__}: {words}). Copy or download it again.") from None


def open_regular(path, links=True):
  """Opens a file of this machine to read bytes; OSError for a folder, a pipe or a device, which
  would wait or never end. links: whether the path may be a symbolic link.

  What is opened is what was checked, whatever another process puts in its place meanwhile.
  """
  flags = os.O_RDONLY | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW)
  file = open(os.open(path, flags | os.O_CLOEXEC), "rb", buffering=0)
  if not stat.S_ISREG(mode := os.fstat(file.fileno()).st_mode):
    file.close()
    kind = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(kind, "Is a directory" if stat.S_ISDIR(mode) else "It is a pipe or a device",
                  os.fspath(path))
  return file


def unique_keys(pairs):
  """dict(pairs), for json's object_pairs_hook; ValueError for a key that stands twice."""
  found = dict(pairs)
  if len(found) < len(pairs):
    key = next(k for k, n in collections.Counter(k for k, _ in pairs).items() if n > 1)
    raise ValueError(f"an object has {key[:80]!r} twice")
  return found


def parse_json(data, where):
  """The value of UTF-8 bytes, strict as to what JSON leaves open; where: the file, for messages.

  Raises ValueError for bad syntax, a key twice in one object, NaN, deep nesting, and what would
  take hundreds of MiB.
  """
  def constant(name):
    raise ValueError(f"{name} is not a number of JSON")
  try:
    if sum(data.count(c) for c in (b"[", b"{", b",", b":")) > MAX_VALUES:
      raise ValueError(f"it holds more than {MAX_VALUES:,} values")
    return json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique_keys,
                      parse_constant=constant)
  except json.JSONDecodeError as e:
    raise ValueError(f"{where}, line {e.lineno}, column {e.colno}: not valid JSON ({e.msg}). "
                     "Download it again.") from None
  except UnicodeDecodeError as e:
    raise ValueError(f"{where} is not text ({e}). Download it again.") from None
  except RecursionError:
    raise ValueError(f"{where} is not valid JSON: it is nested too deeply.") from None
  except ValueError as e:
    raise ValueError(f"{where} is not valid JSON: {e}.") from None


def gunzip(file, where):
  """The bytes of an open file of gzip. Raises ValueError for one that is damaged, or grows by more
  than MAX_GROWTH times."""
  most = most_unpacked(file.seek(0, os.SEEK_END))
  file.seek(0)
  try:
    with gzip.GzipFile(fileobj=file) as unpacked:
      data = unpacked.read(most + 1)
  except gzip.BadGzipFile as e:
    raise ValueError(f"{where} is not gzip: {e}.") from e
  except (EOFError, zlib.error) as e:
    raise ValueError(f"{where} is cut off or damaged: {e}.") from e
  if len(data) > most:
    raise ValueError(f"{where} would grow to more than {most:,} bytes, {MAX_GROWTH} times its own "
                     "(a decompression bomb?): unpack it yourself.")
  return data


def most_unpacked(stored):
  """Bytes that `stored` bytes may grow to; what says that it is more is a decompression bomb."""
  return max(MAX_GROWTH * stored, MAY_GROW)


def read_bytes(path, most):
  """The bytes of a regular file of at most `most` bytes; path: pathlib's or etils'.

  Raises OSError, among others for a device or fifo, and ValueError for a larger file.
  """
  with open_regular(path) if isinstance(path, pathlib.Path) else path.open("rb") as file:
    size = os.fstat(file.fileno()).st_size if isinstance(path, pathlib.Path) else path.stat().length
    if size > most:
      raise ValueError(f"{path} has {size:,} bytes; at most {most:,} are read.")
    return file.read()
