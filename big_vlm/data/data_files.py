"""The files of a source that lie in folders: patterns, shards, and splits as the hub names them."""
import collections
import glob
import os
import pathlib
import re

from big_vlm import files
from big_vlm.data import download
from pp.names import pick

SHARD = re.compile(r"(?P<split>.+?)[-_.](?P<number>\d{5,6})-of-(?P<count>\d{5,6})$")

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")  # of webdataset's users: train-{000000..000099}.tar
MOST = 100_000  # files of a range
MOST_BYTES = 2**40  # of a file that is fetched


def matching(path, suffix, split=None):
  """[pathlib.Path] of a file, a pattern, a range, a folder, or a list of these, in order; behind
  URLs and in object stores [download.Address], of which copies() are read. Folders are local.

  split: of a folder, the first part of its files' names (train-00000-of-00002.parquet), or the
  folder of numbered ones (train/0000.parquet).

  Raises:
    FileNotFoundError: there are none, or one of the numbered shards is missing.
    ValueError: the folder has several splits and none is chosen, or a file is in no split of it.
  """
  found = []
  for p in [path] if isinstance(path, (str, os.PathLike)) else path:
    some = _of_one(os.fspath(p), suffix, split)
    _check_shards(some)
    found += some
  if not found:
    raise ValueError(f"path of a source of {suffix} files is an empty list.")
  if twice := [p for p, n in collections.Counter(map(os.fspath, found)).items() if n > 1]:
    raise ValueError(f"{twice[0]} is named twice by path={path!r}.")
  return found


def copies(found):
  """[pathlib.Path] of files as matching() gives them: of remote ones the copies in the cache, which
  are as the server has them now. Raises FileNotFoundError."""
  out = []
  for file in found:
    try:
      out.append(file if files.is_local(file) else download.local(os.fspath(file), MOST_BYTES))
    except OSError as e:
      raise FileNotFoundError(f"Cannot read {file}: {e.strerror or e}.") from e
  return out


def _of_one(path, suffix, split):
  if store := download.scheme(path):
    return _of_remote(path, store, suffix, split)
  if os.path.isdir(path):
    return _of_folder(pathlib.Path(path), suffix, split)
  if split:
    raise ValueError(f"split={split!r} is of a folder, but {path} names files: leave split out.")
  if RANGE.search(path) and not os.path.exists(path):
    return [p for one in _of_range(path) for p in _of_one(one, suffix, split)]
  if glob.has_magic(path) and not os.path.exists(path):
    if some := [pathlib.Path(p) for p in files.matching(path)]:
      return some
    raise FileNotFoundError(f"No file matches {path}.")
  if not os.path.isfile(path):
    raise FileNotFoundError(f"There is no file {path}.")
  return [pathlib.Path(path)]


def _of_remote(path, store, suffix, split):
  if split or not download.Address(path).name.endswith(suffix):
    raise ValueError(f"{path}: folders and splits are looked up on a disk alone. Behind a URL or "
                     f"in an object store name the {suffix} files, as a list, a range such as "
                     f"train-{{000..099}}{suffix}, or in a store with *.")
  if RANGE.search(path):
    return [p for one in _of_range(path) for p in _of_remote(one, store, suffix, split)]
  if glob.has_magic(path) and store not in download.WEB:  # a URL may have ? in it
    if some := files.matching(path):
      return [download.Address(os.fspath(p)) for p in some]
    raise FileNotFoundError(f"No object matches {path}.")
  return [download.Address(path)]


def _of_range(path):
  numbers = RANGE.search(path)
  first, last = numbers[1], numbers[2]
  if not int(first) <= int(last) < int(first) + MOST:
    raise ValueError(f"{path} is no range of up to {MOST:,} files, such as {{000..099}}.")
  return [f"{path[:numbers.start()]}{n:0{len(first)}}{path[numbers.end():]}"
          for n in range(int(first), int(last) + 1)]


def _of_folder(folder, suffix, split):
  by_split = collections.defaultdict(list)
  for path in sorted(map(pathlib.Path, files.below(folder))):
    if path.name.endswith(suffix) and not path.name.startswith("."):
      by_split[_split_of(path, suffix)].append(path)
  if not by_split:
    raise FileNotFoundError(f"The folder {folder} has no {suffix} file.")
  if split is None and len(by_split) > 1:
    raise ValueError(f"{folder} has the splits {', '.join(sorted(by_split))}: choose with split=, "
                     "or name files.")
  chosen = pick(by_split, split or next(iter(by_split)), f"split of {folder}")
  if len(folders := sorted({str(p.parent) for p in chosen})) > 1:
    raise ValueError(f"{folder} has several folders of this split: {', '.join(folders)}. Name one "
                     "of them as the path.")
  return chosen


def _split_of(path, suffix):
  stem = path.name.removesuffix(suffix)
  if stem.isdigit():
    return path.parent.name
  return re.sub(r"[-_.]?\d+(-of-\d+)?$", "", stem) or stem


def _check_shards(paths):
  """Raises FileNotFoundError if of x-00000-of-00003, x-00001-of-00003, ... one is missing."""
  if len(paths) < 2:
    return
  sets = collections.defaultdict(set)
  for path in paths:
    if found := SHARD.match(path.name.split(".")[0]):
      sets[os.fspath(path.parent), found["split"], int(found["count"]), path.suffix].add(
          int(found["number"]))
  for (folder, split, count, suffix), numbers in sets.items():
    if missing := sorted(set(range(count)) - numbers):
      raise FileNotFoundError(
          f"{folder} has {len(numbers)} of the {count} shards of {split!r}: "
          f"{split}-{missing[0]:05}-of-{count:05}{suffix} is missing. Download it.")
