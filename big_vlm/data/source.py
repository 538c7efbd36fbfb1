"""What a source of examples is, and how a config names one.

    dict(name="digits/small", split="train", data_dir="data")      a prepared TFDS data set
    dict(name="jsonl", path="my/train.jsonl")                      one JSON object per line
    dict(name="memory", examples=[{...}, {...}])                   a list of examples
"""
from typing import Protocol

from big_vlm.data import jsonl, memory, tfds

OURS = {"jsonl": jsonl.Jsonl, "memory": memory.Memory}


class Source(Protocol):
  """Random access to examples; an example is a dict of numpy arrays, bytes and strings.

  It always holds "_id", a string that says where the example stands ("train.jsonl:12").
  """

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> dict: ...


def get(name, **kw):
  """The source that a config's `data` names; other keys are arguments of its class."""
  return OURS[name](**kw) if name in OURS else tfds.Tfds(name, **kw)
