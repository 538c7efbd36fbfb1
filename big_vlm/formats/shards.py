"""Weights in several files and the JSON index that says which file holds what.

    {"metadata": {"total_size": bytes}, "weight_map": {key: file or [file]}}
"""
import json
import re

from big_vlm.files import inside
from pp.foreign import parse_json, read_bytes

MAX_BYTES = 32 << 20  # of an index
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors|model_\d{5}\.weights\.h5")


def read_index(path):
  """{key: [file]} of an index. Raises FileNotFoundError if one of the files is missing, and
  ValueError for a file that is not an index, or one of other shards than lie beside it."""
  index = parse_json(read_bytes(path, MAX_BYTES), path)
  weight_map = index.get("weight_map") if isinstance(index, dict) else None
  weight_map = {key: [f] if isinstance(f, str) else f for key, f in weight_map.items()
                } if isinstance(weight_map, dict) else {}
  if not weight_map or not all(isinstance(f, list) and f for f in weight_map.values()):
    raise ValueError(f"{path} is not an index of shards: it must be a JSON object whose "
                     "'weight_map' gives the file of each tensor. Download it again.")
  for listed in weight_map.values():
    for file in listed:
      inside(path.parent, file)
  files = {f for listed in weight_map.values() for f in listed}
  if left := sorted(p.name for p in path.parent.iterdir()
                    if SHARD.fullmatch(p.name) and p.name not in files):
    raise ValueError(f"{path} does not name {left[0]}, which lies beside it: the files are not of "
                     "one checkpoint. Remove those of the older one.")
  if missing := sorted(f for f in files if not (path.parent / f).exists()):
    raise FileNotFoundError(
        f"{path.parent} lacks {len(missing)} of the {len(files)} files that {path.name} names: "
        f"{', '.join(missing)}. The download was not finished: fetch them into the same folder.")
  return weight_map


def write_index(path, weight_map, total_size):
  index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
  path.write_text(json.dumps(index, indent=2) + "\n")


def foreign(path, key, index):
  """The error of a shard that lacks what the index says it holds."""
  return ValueError(f"{path} does not hold {key!r}, though {index} says so: the files are not of "
                    "one checkpoint.")


def split(tensors, max_shard, group=lambda name: name):
  """Lists of names, each of at most max_shard bytes unless a single group is larger.

  tensors: {name: LazyArray}. Names of the same group(name) stay together.
  """
  groups = {}
  for name in tensors:
    groups.setdefault(group(name), []).append(name)
  shards, filled = [[]], 0
  for names in groups.values():
    size = sum(tensors[n].nbytes for n in names)
    if shards[-1] and filled + size > max_shard:
      shards.append([])
      filled = 0
    shards[-1] += names
    filled += size
  return shards


def lfs_pointer(path):
  """"is a Git LFS pointer ..." if the file is the text that stands for a large file, or None."""
  with open(path, "rb") as f:
    return (f"is a Git LFS pointer, the text that stands for the file: run `git lfs pull` in "
            f"{path.parent}." if f.read(8) == b"version " else None)
