"""Sources of examples, and the `data` of a config that opens one.

    dict(name="jsonl", path="my/train.jsonl")                      one JSON object per line
    dict(name="parquet", path="data/train-*.parquet")              rows, as `datasets` writes them
    dict(name="huggingface", path="my/folder", split="train")      a folder of save_to_disk
    dict(name="webdataset", path="train-{000..099}.tar")           members 1.jpg, 1.txt, 1.json
    dict(name="digits/small", split="train", data_dir="data")      a prepared TFDS data set
    dict(name="memory", examples=[{...}, {...}])                   a list of examples

Each takes start=, stop= and filter= too, see subset.py; parquet, huggingface and webdataset take
the names of their fields, image=, prefix=, suffix=, see fields.py.
"""
import inspect
import os
import re
from typing import Protocol

import numpy as np

from big_vlm import files
from big_vlm.data import (
  fields,
  huggingface,
  jsonl,
  memory,
  parquet,
  subset,
  tfds,
  webdataset,
)
from pp.names import check_names, near_miss

OURS = {"jsonl": jsonl.Jsonl, "memory": memory.Memory, "parquet": parquet.Parquet,
        "huggingface": huggingface.HuggingFace, "webdataset": webdataset.WebDataset}
_PARAMETERS = {name: inspect.signature(make).parameters for name, make in OURS.items()}
CHECKED = [name for name, known in _PARAMETERS.items() if "check" in known]
NAMED = [name for name, known in _PARAMETERS.items() if "fields" in known]  # see fields.py
PART = ("start", "stop", "filter")
SAVED = ("state.json", "dataset_dict.json")  # of a folder that `datasets` wrote


class Source(Protocol):
  """Random access to examples; an example is a dict of numpy arrays, bytes and strings.

  It always has "_id", a string with the place of the example ("train.jsonl:12"). A source may have
  fields(index), the example without its images, and where(index), its place for messages.
  """

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> dict: ...

  def fingerprint(self) -> str | None:
    """SHA-256 of the content, by which a run that resumes knows its data; None: it has none."""


def get(name=None, **kw):
  """Returns the Source of a config's `data`; its other keys are arguments of the class."""
  part = {key: kw.pop(key) for key in PART if key in kw}
  if not isinstance(name, str):
    raise ValueError(f"name={name!r:.60} of data is not one of {', '.join(OURS)}, or a TFDS data "
                     "set, as a str.")
  make = OURS.get(name)
  if not make and "path" in kw:
    raise ValueError(f"The data {name!r} is not one of {', '.join(OURS)}, which read a path."
                     f"{near_miss(name, OURS)}")
  check_names(kw, _arguments(make or tfds.Tfds), f"The data {name!r}")
  needed = [p.name for p in inspect.signature(make or tfds.Tfds).parameters.values()
            if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
  if lacks := [key for key in needed if key not in kw and key != "name"]:
    raise ValueError(f"The data {name!r} needs {lacks[0]}=.")
  if "path" in kw:
    _check_path(kw["path"])
  examples = make(**kw) if make else tfds.Tfds(name, **kw)
  return subset.Subset(examples, **part) if any(v is not None for v in part.values()) else examples


def _check_path(path):
  paths = path if isinstance(path, (list, tuple)) else [path]
  if not all(isinstance(p, (str, os.PathLike)) for p in paths):
    raise ValueError(f"path={path!r:.80} of a source is not a file, or a list of files.")


def of_paths(paths, **names):
  """The `data` of a tuple of paths, by what they name: .jsonl, .parquet, .tar, or a folder.

  names: of fields, for sources that have them, see fields.py; "" for none. Raises ValueError for
  paths of several kinds, a folder of no kind, and names of fields with a JSONL.
  """
  kinds = {}
  for path in paths:
    kinds.setdefault(_kind(os.fspath(path)), path)
  if len(kinds) > 1:
    raise ValueError(f"{' and '.join(map(str, kinds.values()))} are not of one kind "
                     f"({', '.join(kinds)}): give each a component of the mixture.")
  name, path = kinds.popitem()
  names = {key: value for key, value in names.items() if value}
  if names and name not in NAMED:
    raise ValueError(f"{next(iter(names))}={next(iter(names.values()))} names a field of Parquet,"
                     f" a Hugging Face folder or WebDataset, but {path} is JSONL: rename the field "
                     "there, or write it by an op, such as strfmt('{question}', outkey='prefix').")
  if name == "huggingface":
    if len(paths) > 1:
      raise ValueError(f"{' and '.join(map(str, paths))} are folders of `datasets`: give each a "
                       "component of the mixture.")
    return dict(name=name, path=path, **names)
  return dict(name=name, path=tuple(paths), **names)


def _kind(path):
  """The name in OURS of the files of a path."""
  if not os.path.isdir(path):
    found = re.search(r"\.(parquet|tar(?=$|\.)|tgz$)", path)
    return "jsonl" if not found else "parquet" if found[1] == "parquet" else "webdataset"
  if is_saved(path):
    return "huggingface"
  for name, suffix in (("parquet", ".parquet"), ("webdataset", ".tar")):
    if any(p.name.endswith(suffix) for p in files.below(path)):
      return name
  raise ValueError(f"The folder {path} holds no data that is known: neither a folder of "
                   "save_to_disk, nor .parquet or .tar files. JSONL files are named one by one, or "
                   "by a pattern such as my/*.jsonl.")


def is_saved(path):
  """Whether a path is a folder of `datasets`' save_to_disk."""
  return any(os.path.isfile(f"{path}/{name}") for name in SAVED)


def _arguments(make):
  """The names of the arguments of a class of OURS."""
  own = [p for p in inspect.signature(make).parameters.values() if p.kind is not p.VAR_KEYWORD]
  names = inspect.signature(fields.Fields).parameters if make in map(OURS.get, NAMED) else ()
  return [*(p.name for p in own), *names, *PART]


class Some:
  """The examples of a Source at some indices."""

  def __init__(self, examples, indices):
    self._examples, self._indices = examples, indices

  def __len__(self):
    return len(self._indices)

  def __getitem__(self, index):
    return self._examples[int(self._indices[index])]

  def fingerprint(self):
    return self._examples.fingerprint()


class Sample(Some):
  """`count` examples of a Source, or all, in its order. Which ones depends on how many it has, and
  those of a smaller count are among them."""

  def __init__(self, examples, count):
    drawn = np.random.default_rng(0).permutation(len(examples))[:count]
    super().__init__(examples, np.sort(drawn))
