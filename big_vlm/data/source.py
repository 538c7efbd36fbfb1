"""What a source of examples is, and how a config names one.

    dict(name="digits/small", split="train", data_dir="data")      a prepared TFDS data set
    dict(name="jsonl", path="my/train.jsonl")                      one JSON object per line
"""
from typing import Protocol

from big_vlm.data import jsonl, tfds


class Source(Protocol):
  """Random access to examples; an example is a dict of numpy arrays, bytes and strings.

  It always holds "_id", a string that says where the example stands ("train.jsonl:12").
  """

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> dict: ...


def get(name, **kw):
  """The source that a config's `data` names; other keys are arguments of jsonl or tfds."""
  return jsonl.Jsonl(**kw) if name == "jsonl" else tfds.Tfds(name, **kw)
