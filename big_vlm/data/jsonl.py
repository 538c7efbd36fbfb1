"""JSONL: one example per line, {"image": "cat.png", "prefix": "caption en", "suffix": "a cat"}.

"image" is a path relative to the file's folder (or to root), "images" a list of paths, "video" a
path, or a list of the paths of its frames. In the example, the bytes of the files replace the
paths. All other fields stay: numbers, text, boxes, polygons; lists of numbers or strings become
arrays, as in a TFDS data set. Lines may have different keys. The source checks all lines before
training starts.
"""
import errno
import glob
import hashlib
import json
import os
import pathlib
import stat
import time

import numpy as np
from etils import epath

from big_vlm import files
from big_vlm.data import download
from big_vlm.data.fields import as_array
from pp.foreign import gunzip, unique_keys
from pp.names import check_names

FILES = ("image", "images", "video")  # the fields with paths
ALLOW = ("outside", "links", "urls")
MAX_LINE = 2**26  # bytes
MAX_DATA = 2**40  # bytes of a JSONL that is fetched
MAX_FILE = 2**31  # bytes; images are far smaller, and a video is read whole
NOTE = 10  # seconds between lines about the progress of a check
CHUNK = MAX_LINE  # bytes in which the search for line ends takes a file


class Jsonl:
  """Random access to the lines of one file or several; errors name the file and the line.

  By default a line can read only files below the root, because a JSONL file from elsewhere must not
  read other files of this machine. `allow` lifts that.

  Args:
    path: of a file, or a pattern with * in it, or a list of these; also an https:// URL, or a
      gs://, s3:// or hf:// address, of which a copy is kept, see download.py. Files with the suffix
      .gz are held in memory, others are read line by line.
    root: the folder that paths in the lines are relative to; by default that of the file.
    allow: "outside" (absolute paths, and ".." that leave the root), "links" (symbolic links below
      the root), "urls" (https://, gs://, s3:// and hf://; each is fetched once).
    check: check all lines now, and that their files exist; those of an object store show when they
      are read.

  Raises:
    ValueError: a line is not an example, or names a file that is not allowed.
    FileNotFoundError: a file does not exist.
  """

  def __init__(self, path, root=None, allow=(), check=True):
    check_names(allow, ALLOW, "allow of a JSONL source")
    self._paths, self._allow = _matching(path), frozenset(allow)
    self._roots = [_root(root or p.parent) for p in self._paths]
    self._names = _short_names(self._paths)
    self._files = [_open(path) for path in self._paths]
    ends = [_line_ends(*pair) for pair in zip(self._files, self._paths)]
    # A row for each line that is not blank: [file, line number from 1, first byte, last byte + 1].
    self._lines = np.concatenate([self._lines_of(i, e) for i, e in enumerate(ends)])
    if not len(self._lines):
      raise ValueError(f"{path} has no lines: expected one JSON object per line.")
    if check and (problem := next(self.problems(), None)):
      raise problem[1]

  def __len__(self):
    return len(self._lines)

  @property
  def line_sizes(self):
    """Bytes of each line, int64 [N]."""
    return self._lines[:, 3] - self._lines[:, 2]

  def __getitem__(self, index):
    example = self.line(index)
    for key in FILES:
      if key in example:
        value = example.pop(key)
        if value != []:
          example["image" if key == "images" else key] = (
              [self._read(index, name) for name in value] if isinstance(value, list)
              else self._read(index, value))
    return {**{k: as_array(v) for k, v in example.items()}, "_id": self._id(index)}

  def fingerprint(self):
    """SHA-256 of the files' content, wherever they lie; images are not read."""
    found = hashlib.sha256()
    for file in self._files:
      for start in range(0, file.size, CHUNK):
        found.update(file.read(start, min(start + CHUNK, file.size)))
    return found.hexdigest()

  def line(self, index):
    """The JSON object of a line; ValueError if it is not an example."""
    file, _, start, end = self._lines[index]
    where = self.where(index)
    if end - start > MAX_LINE:
      raise ValueError(f"{where} is {(end - start) >> 20} MiB long; the limit is {MAX_LINE >> 20}.")
    try:
      text = self._files[file].read(start, end)
    except OSError as e:
      raise ValueError(f"{where} cannot be read: {e}.") from e
    try:
      example = json.loads(text, object_pairs_hook=unique_keys)
      if b"\\ud" in text.lower():
        json.dumps(example, ensure_ascii=False).encode()  # a lone surrogate, such as "\ud83d"
    except (ValueError, RecursionError) as e:
      raise ValueError(f"{where} is not JSON: {e}. The line begins with "
                       f"{text[:60].decode('utf-8', 'replace')!r}.") from e
    if not isinstance(example, dict):
      raise ValueError(f"{where} is a JSON {type(example).__name__}, not an object "
                       '{"image": ..., "prefix": ..., "suffix": ...}.')
    if odd := next((key for key in example if key.startswith("_")), None):
      raise ValueError(f"{where} has the key {odd!r}: keys that start with _ belong to the loader; "
                       "rename it.")
    if "image" in example and "images" in example:
      raise ValueError(f"{where} has both 'image' and 'images'; keep one.")
    if not isinstance(example.get("images", []), list):
      raise ValueError(f"{where}: 'images' is a list of paths, not {example['images']!r}; one path "
                       "goes under 'image'.")
    return example

  def fields(self, index):
    """The example with the paths of its files, which are not read."""
    return {k: as_array(v) if k not in FILES else v for k, v in self.line(index).items()}

  def files(self, index):
    """The [path or URL] of the files of an example; the first error of `line` or `resolve`."""
    return [self.resolve(index, name) for name in _names(self.line(index))]

  def problems(self):
    """Yields (index, ValueError or FileNotFoundError) for each line that cannot be used.

    A million lines take about 15 s; a longer check prints its progress.
    """
    printed = time.monotonic()
    for index in range(len(self)):
      if time.monotonic() - printed > NOTE:
        printed = time.monotonic()
        print(f"checked {index:,} of {len(self):,} lines of {self._paths[0]}"
              + " and others" * (len(self._paths) > 1), flush=True)
      try:
        self.files(index)
      except (ValueError, FileNotFoundError) as e:
        yield index, e

  def where(self, index):
    """The place of an example: "data/train.jsonl, line 3"."""
    file, number = self._lines[index, :2]
    return f"{self._paths[file]}, line {number}"

  def resolve(self, index, name):
    """The path of a name in a line, or a URL as a str.

    Raises:
      ValueError: it is not a path, or not allowed.
      FileNotFoundError: there is no such file.
    """
    where, root = self.where(index), self._roots[self._lines[index, 0]]
    if not isinstance(name, str):
      raise ValueError(f"{where}: an image is a path, not {name!r}.")
    try:
      if download.scheme(name):
        if "urls" not in self._allow:
          raise ValueError(f"{name[:200]!r} is a URL. Download the files first, or set "
                           "allow=('urls',) in the config's data.")
        return name
      if not files.is_local(root):
        files.check_name(root, name)
        return os.fspath(root / name)
    except ValueError as e:
      raise ValueError(f"{where}: {e}") from None
    try:
      path = pathlib.Path(os.path.normpath(root / name))
      self._refuse(where, name, root, path)
      found = stat.S_ISREG(mode := path.stat().st_mode)
      what = f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'not a file'}, not an image. "
    except FileNotFoundError:
      found, what = False, f"there is no image file {path}. "
    except (ValueError, OSError) as e:
      if isinstance(e, _Refused):
        raise
      # The name has a NUL or a lone surrogate, or is too long.
      raise ValueError(f"{where}: {name[:60]!r} is not the path of an image: {e}.") from e
    if not found:
      raise FileNotFoundError(f"{where}: {what}Paths are relative to {root}.")
    return path

  def _refuse(self, where, name, root, path):
    outside = not path.is_relative_to(root) or ".." in pathlib.PurePath(name).parts
    if outside and "outside" not in self._allow:
      raise _Refused(f"{where}: image {name!r} is outside of {root}, or has '..' in it. If that is "
                     "intended, set root=... in the config's data to the common folder, to which "
                     "paths are then relative, or set allow=('outside',).")
    if "links" not in self._allow:
      below = path.relative_to(root).parts if path.is_relative_to(root) else ()
      for i in range(len(below)):
        if (link := root.joinpath(*below[:i + 1])).is_symlink():
          raise _Refused(f"{where}: {link} is a symbolic link, to {os.readlink(link)}. If that is "
                         "intended, set allow=('links',) in the config's data.")

  def _read(self, index, name):
    path = self.resolve(index, name)
    try:
      if isinstance(path, str):
        return download.fetch(path, MAX_FILE)
      links = bool(self._allow & {"links", "outside"})
      with files.open_regular(path, links) as file:
        if (size := os.fstat(file.fileno()).st_size) > MAX_FILE:
          raise OSError(f"its {size >> 20} MiB are more than the {MAX_FILE >> 20} MiB allowed")
        return file.readall()
    except OSError as e:
      raise OSError(f"{self.where(index)}: cannot read {path}: {e}.") from e

  def _id(self, index):
    file, number = self._lines[index, :2]
    return f"{self._names[file]}:{number}"

  def _lines_of(self, file, ends):
    data, start, rows = self._files[file], 0, []
    for number, end in enumerate(ends.tolist(), 1):
      if end - start > 64 or data.read(start, end).strip():
        rows.append((file, number, start, end))
      start = end + 1
    return np.array(rows, np.int64).reshape(-1, 4)


class _Refused(ValueError):
  """A line names a file that is not allowed."""


def _matching(path):
  """The files of a path, a pattern, or a list of these, in order; FileNotFoundError for none."""
  found = []
  for p in [path] if isinstance(path, (str, os.PathLike)) else path:
    pattern = os.fspath(p)
    some = _files_of(pattern)
    if not some:
      raise FileNotFoundError(f"No JSONL file matches {pattern}.")
    found += some
  if not found:
    raise ValueError("path of a JSONL source is an empty list.")
  return found


def _files_of(pattern):
  remote = download.scheme(pattern)
  if not glob.has_magic(pattern) or remote in download.WEB:  # a URL may have ? in it
    return [download.Address(pattern) if remote else epath.Path(pattern)]
  return [download.Address(os.fspath(p)) if remote else p for p in files.matching(pattern)]


def _root(path):
  return (pathlib.Path(path).resolve() if files.is_local(path)
          else download.Address(os.fspath(path).rstrip("/")))


def _short_names(paths):
  """The names of the files, or their paths below the common folder if two names are equal."""
  if len({p.name for p in paths}) == len(paths):
    return [p.name for p in paths]
  if not all(map(files.is_local, paths)):
    return list(map(os.fspath, paths))
  common = os.path.commonpath([p.absolute().parent for p in paths])
  return [os.path.relpath(p.absolute(), common) for p in paths]


class _InMemory:
  """The bytes of a file."""

  def __init__(self, data):
    self._data, self.size = data, len(data)

  def read(self, start, end):
    return self._data[start:end]


class _OnDisk:
  """The bytes of an open file, as it was when it was opened; a map of one that is cut short later
  would end the process with a signal."""

  def __init__(self, path):
    self._path = path
    self._copy = None if files.is_local(path) else download.local(os.fspath(path), MAX_DATA)
    self._file = files.open_regular(self._copy or path)
    self._was = self._state()
    self.size = self._was[0]

  def read(self, start, end):
    """Bytes from start to end; OSError if the file has changed its length."""
    data = os.pread(self._file.fileno(), end - start, start)
    while data and len(data) < end - start:  # 2 GiB at once at most
      data += (more := os.pread(self._file.fileno(), end - start - len(data), start + len(data)))
      if not more:
        break
    if len(data) < end - start:
      raise OSError("the file was cut short after it was opened; a run needs it as it was")
    return data

  def _state(self):
    found = os.fstat(self._file.fileno())
    # The name of a copy says which version of the file it is of; its time is that of its last use.
    return found.st_size, str(self._copy) if self._copy else found.st_mtime_ns

  def __getstate__(self):
    return {"_path": self._path, "_was": self._was}

  def __setstate__(self, state):  # in a worker
    was = state["_was"]
    self.__init__(state["_path"])
    if self._was != was:
      raise ValueError(f"The JSONL file {self._path} was changed after it was opened: start again.")


def _open(path):
  """The _InMemory or _OnDisk of a file; FileNotFoundError with the reason."""
  try:
    if path.suffix != ".gz":
      return _OnDisk(path)
    local = path if files.is_local(path) else download.local(os.fspath(path), MAX_DATA)
    with files.open_regular(local) as file:
      return _InMemory(gunzip(file, f"The JSONL file {path}"))
  except OSError as e:
    own = (" Give the path of your lines: data=PATH of configs/forkme.py, or path= in a config's "
           "data.") * (e.errno == errno.ENOENT)
    raise FileNotFoundError(f"Cannot read the JSONL file {path}: {e.strerror or e}.{own}") from e


def _line_ends(file, path):
  r"""int64 offsets of the newlines and of the end of the data; only \n ends a line.

  Raises ValueError where CHUNK bytes have no newline: a sparse file would be read for minutes.
  """
  found = []
  for at in range(0, file.size, CHUNK):
    data = np.frombuffer(file.read(at, min(at + CHUNK, file.size)), np.uint8)
    found.append(np.flatnonzero(data == 10) + at)
    if not len(found[-1]) and len(data) == CHUNK:
      raise ValueError(f"The JSONL file {path} has a line of more than {MAX_LINE >> 20} MiB at "
                       f"byte {at:,}: expected one JSON object per line.")
  return np.concatenate([*found, [file.size]]).astype(np.int64)


def _names(example):
  video = example.get("video", [])
  return [*example.get("images", [example["image"]] if "image" in example else []),
          *(video if isinstance(video, list) else [video])]
