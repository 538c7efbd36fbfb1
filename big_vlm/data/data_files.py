"""The files of a source that lie in folders: patterns, shards, and splits as the hub names them."""
import collections
import glob
import os
import pathlib
import re

from big_vlm import files
from pp.names import pick

SHARD = re.compile(r"(?P<split>.+?)[-_.](?P<number>\d{5,6})-of-(?P<count>\d{5,6})$")

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")  # of webdataset's users: train-{000000..000099}.tar
MOST = 100_000  # files of a range


def matching(path, suffix, split=None):
  """[pathlib.Path] of a file, a pattern, a range, a folder, or a list of these, in order.

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
  if twice := [p for p, n in collections.Counter(found).items() if n > 1]:
    raise ValueError(f"{twice[0]} is named twice by path={path!r}.")
  return found


def _of_one(path, suffix, split):
  if not files.is_local(path):
    raise ValueError(f"{path}: {suffix} files are read from a disk. Copy them there first; JSONL "
                     "files and their images may lie in an object store or behind a URL.")
  if os.path.isdir(path):
    return _of_folder(pathlib.Path(path), suffix, split)
  if split:
    raise ValueError(f"split={split!r} is of a folder, but {path} names files: leave split out.")
  if (numbers := RANGE.search(path)) and not os.path.exists(path):
    first, last = numbers[1], numbers[2]
    if not int(first) <= int(last) < int(first) + MOST:
      raise ValueError(f"{path} is no range of up to {MOST:,} files, such as {{000..099}}.")
    return [p for n in range(int(first), int(last) + 1) for p in _of_one(
        f"{path[:numbers.start()]}{n:0{len(first)}}{path[numbers.end():]}", suffix, split)]
  if glob.has_magic(path) and not os.path.exists(path):
    if some := [pathlib.Path(p) for p in files.matching(path)]:
      return some
    raise FileNotFoundError(f"No file matches {path}.")
  if not os.path.isfile(path):
    raise FileNotFoundError(f"There is no file {path}.")
  return [pathlib.Path(path)]


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
      sets[path.parent, found["split"], int(found["count"]), path.suffix].add(int(found["number"]))
  for (folder, split, count, suffix), numbers in sets.items():
    if missing := sorted(set(range(count)) - numbers):
      raise FileNotFoundError(
          f"{folder} has {len(numbers)} of the {count} shards of {split!r}: "
          f"{split}-{missing[0]:05}-of-{count:05}{suffix} is missing. Download it.")
