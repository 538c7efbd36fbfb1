"""Sources of examples, and the `data` of a config that opens one.

    dict(name="digits/small", split="train", data_dir="data")      a prepared TFDS data set
    dict(name="jsonl", path="my/train.jsonl")                      one JSON object per line
    dict(name="memory", examples=[{...}, {...}])                   a list of examples
"""
from typing import Protocol

import numpy as np

from big_vlm.data import jsonl, memory, tfds

OURS = {"jsonl": jsonl.Jsonl, "memory": memory.Memory}


class Source(Protocol):
  """Random access to examples; an example is a dict of numpy arrays, bytes and strings.

  It always has "_id", a string with the place of the example ("train.jsonl:12").
  """

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> dict: ...

  def fingerprint(self) -> str | None:
    """SHA-256 of the content, by which a run that resumes knows its data; None: it has none."""


def get(name, **kw):
  """Returns the Source of a config's `data`; its other keys are arguments of the class."""
  return OURS[name](**kw) if name in OURS else tfds.Tfds(name, **kw)


class Sample:
  """`count` examples of a Source, or all, in its order. Which ones depends on how many it has, and
  those of a smaller count are among them."""

  def __init__(self, examples, count):
    drawn = np.random.default_rng(0).permutation(len(examples))[:count]
    self._examples, self._indices = examples, np.sort(drawn)

  def __len__(self):
    return len(self._indices)

  def __getitem__(self, index):
    return self._examples[int(self._indices[index])]

  def fingerprint(self):
    return self._examples.fingerprint()
