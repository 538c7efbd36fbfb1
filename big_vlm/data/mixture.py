"""An endless stream out of several sources, mixed by weight: index -> example, from the seed alone.

Each source is shuffled as a whole, anew in every epoch. An example gets its own random generator
("_rng") and the number of its visit ("_epoch"), both functions of (seed, source, index): where and
when it is made does not matter.
"""
import grain
import numpy as np

from big_vlm.data import source
from pp import builder
from pp.registry import check_names


def stream(parts, seed):
  """grain.MapDataset over parts [{"data": {...}, "pp": "...", "weight": 1.0}, ...]."""
  weights = np.array([part.get("weight", 1.0) for part in parts], float)
  if not len(weights) or not (weights > 0).all():
    raise ValueError(f"A mixture needs a part, and weights above 0, not {weights.tolist()}.")
  for part in parts:
    check_names(part, ("data", "pp", "weight"), "A part of the mixture")
  datasets = [_part(i, seed, **part) for i, part in enumerate(parts)]
  if len(datasets) == 1:
    return datasets[0]
  return grain.MapDataset.mix(datasets, weights / weights.sum())


def _part(number, seed, data, pp, weight=1.0):
  del weight
  examples = source.get(**data)
  preprocess, size = builder.get_preprocess_fn(pp), len(examples)

  def make(index, example):
    rng = np.random.default_rng([seed, number, index])
    return preprocess({**example, "_rng": rng, "_epoch": index // size})

  shuffled = grain.MapDataset.source(examples).seed(seed + number).shuffle().repeat()
  return shuffled.map_with_index(make)


def epoch(parts):
  """Examples of an epoch: all that the sources hold."""
  return sum(len(source.get(**part["data"])) for part in parts)
