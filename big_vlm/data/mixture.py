"""An endless stream out of several sources, mixed by weight: index -> example, from the seed alone.

Each source is shuffled as a whole, anew in every epoch. An example gets its own random generator
("_rng"), the number of its visit ("_epoch") and the name of its component ("_source"): all are
functions of (seed, component, index), so that where and when it is made does not matter.
"""
import dataclasses
import fractions
import math
import pathlib
import re

import numpy as np
from etils import epy

from big_vlm.data import source
from pp import builder
from pp.context import Context
from pp.names import check_names, pick

with epy.lazy_imports(error_callback="pip install 'big_vlm[train]'"):  # slow to import
  import grain

ON_ERROR = ("raise", "skip")
TRIES = 10  # examples of one source that may fail in a row before a run that skips gives up
MOST = 2**16  # elements after which the order of the components repeats


def from_config(config):
  """The Mixture that a config trains on. Where it tunes: of prompts alone, in rows of one token
  more than they may have, which shows those that are too long."""
  context = context_of(config)
  if config.get("tune"):
    context = dataclasses.replace(context, train=False, text_len=config.tune.prompt_len + 1)
  return Mixture(config.input.mixture, config.seed, config.input.on_error, context)


def context_of(config):
  """The Context of a config's training: its tokenizer, text_len and image size.

  Imports the modules of config.pp_modules first, whose ops the pipelines may have.
  """
  builder.import_modules(config.get("pp_modules") or ())
  from big_vlm import families  # here: worker processes import this file
  img, txt = config.model.img or {}, config.model.get("txt")
  size = img.get("image_size") or (
      img and families.TOWER_VARIANTS[img["variant"]].image_size) or None
  length, pad = config.get("text_len"), None
  if txt:
    tower = families.text.config(**{k: v for k, v in txt.items() if k != "dtype"})
    if length not in (None, tower.length):
      raise ValueError(f"config.text_len={length}, but the text tower reads {tower.length} tokens: "
                       "leave text_len out, or give model.txt.length.")
    length, pad = tower.length, tower.pad_token
  return Context(config.tokenizer or None, length, size, image=bool(img), pad_token=pad)


class Mixture:
  """Random access to the stream over components [{"data": {...}, "pp": "...", "weight": 1.}, ...].

  A component may have a "name"; by default it is that of its data. on_error: "raise", or "skip",
  which puts another example of the same component, drawn from the seed, in the place of one that
  cannot be read or preprocessed; the ids of those that failed are then in its "_skipped". context:
  the fields that their pipelines take.

  A component of weight 0 is switched off: its data is not opened, and the others give the examples
  that they would give beside it.

  names, sizes: of the components that are on. Raises ValueError for a weight below 0, or if all
  are 0.
  """

  def __init__(self, components, seed, on_error="raise", context=None):
    pick(dict.fromkeys(ON_ERROR), on_error, "on_error")
    self._order = _Order(shares(components))
    opened, self._streams = {}, []  # components of the same data share it
    for component in components:
      check_names(component, ("name", "data", "pp", "weight"), "A mixture component")
    names, self._numbers = _names(components), [n for n, _ in switched_on(components)]
    for number, component in switched_on(components):
      key = _key(component["data"])
      if key not in opened:
        opened[key] = source.get(**component["data"])
      self._streams.append(_Stream(
          number, names[number], seed, opened[key],
          builder.get_preprocess_fn(component["pp"], context), on_error))
    self.names = tuple(names[number] for number in self._numbers)
    self.sizes = tuple(len(stream.examples) for stream in self._streams)

  def __getitem__(self, index):
    component, at = self._order[index]
    return self._streams[component][at]

  def fingerprints(self):
    """{number of the component: fingerprint of its data, see data/source.py} of those that are
    on."""
    seen = {id(s.examples): s.examples for s in self._streams}
    seen = {key: examples.fingerprint() for key, examples in seen.items()}
    return {n: seen[id(s.examples)] for n, s in zip(self._numbers, self._streams)}

  def counts(self, index):
    """{name: how many of the first `index` elements are of this component}."""
    return dict(zip(self.names, self._order.counts(index).tolist()))


def _key(data):
  """Equal for the same data. Examples in memory count as themselves: an array's repr is partial."""
  return tuple(sorted((k, id(v) if k == "examples" else repr(v)) for k, v in data.items()))


class _Stream:
  """One source's stream: all examples in a random order, then all in another, ..."""

  def __init__(self, number, name, seed, examples, preprocess, on_error):
    self._keys, self._name, self._skip = (seed, number), name, on_error == "skip"
    self.examples, self._preprocess = examples, preprocess
    # Grain adds the epoch to this seed: those of neighbouring runs and parts must lie far apart.
    shuffle = int(np.random.SeedSequence(self._keys).generate_state(1)[0])
    self._order = grain.MapDataset.range(len(examples)).seed(shuffle).shuffle().repeat()

  def __getitem__(self, index):
    at, failed = int(self._order[index]), []
    while True:
      rng = np.random.default_rng([*self._keys, index])
      try:
        example = {**self.examples[at], "_rng": rng, "_epoch": index // len(self.examples)}
        return self._preprocess(example) | {"_source": self._name} | (
            {"_skipped": failed} if failed else {})
      except (ValueError, OSError) as e:
        if not self._skip:
          raise
        failed.append(_id(self.examples, at))
        if len(failed) == TRIES:
          raise ValueError(f"{TRIES} examples of {self._name} in a row could not be used, "
                           f"{', '.join(failed)}; the last because: {e}") from e
        at = int(np.random.default_rng([*self._keys, index, len(failed)])
                 .integers(len(self.examples)))


def _id(examples, index):
  try:
    return examples[index]["_id"]
  except (ValueError, OSError) as e:  # it cannot be read at all
    return f"number {index} ({e})"


class _Order:
  """Which component each element is of: they take turns, evenly, by their shares.

  element -> (component, how many elements of it came before)
  """

  def __init__(self, shares):
    counts = _whole(shares)
    # The k-th element of a component that has c in a round stands at (k + 1/2) / c of it.
    at = np.concatenate([(np.arange(c) + 0.5) / c for c in counts])
    turn = np.argsort(at, kind="stable")
    self._component = np.repeat(np.arange(len(counts)), counts)[turn]
    self._before = np.concatenate([np.arange(c) for c in counts])[turn]
    self._counts = np.array(counts)

  def __getitem__(self, index):
    turns, place = divmod(index, len(self._component))
    component = int(self._component[place])
    return component, turns * int(self._counts[component]) + int(self._before[place])

  def counts(self, index):
    turns, place = divmod(index, len(self._component))
    return turns * self._counts + np.bincount(self._component[:place], minlength=len(self._counts))


def _whole(shares):
  """Whole numbers in the ratio of the shares: exactly where MOST in all can be, else nearly."""
  exact = [fractions.Fraction(s).limit_denominator(MOST) for s in shares]
  total = math.lcm(*(f.denominator for f in exact))
  if min(exact) > 0 and sum(exact) == 1 and total <= MOST:
    return [int(f * total) for f in exact]
  counts = [round(s * MOST) for s in shares]
  if not min(counts):
    raise ValueError(f"The weights of a mixture differ too much: the least share, {min(shares):.2g}"
                     f", is below one element in {2 * MOST:,}.")
  return counts


def switched_on(components):
  """[(number, component)] of those whose weight is not 0."""
  return [(n, c) for n, c in enumerate(components) if c.get("weight", 1.0) != 0]


def shares(components):
  """The weights of the components that are on, their sum 1; raises ValueError where one is below 0,
  or all are 0."""
  weights = np.array([component.get("weight", 1.0) for component in components], float)
  if not (weights > 0).any() or not (weights >= 0).all() or not np.isfinite(weights).all():
    raise ValueError("A mixture needs weights above 0, or 0 for a component that is switched off, "
                     f"not {weights.tolist()}.")
  return (weights[weights > 0] / weights.sum()).tolist()


def _names(components):
  names = []
  for component in components:
    name = component.get("name") or _name_of(**component["data"])
    names.append(name if name not in names else f"{name}#{len(names)}")
  return tuple(names)


def _name_of(name, path=None, **_):
  """"okvqa" of a TFDS data set, "train" of train.jsonl and of train-*.parquet, "my" of my/*.tar."""
  path = path[0] if isinstance(path, (list, tuple)) and path else path
  if not path:
    return name
  path = pathlib.Path(path)
  return re.sub(r"[-_]?[*?[{].*", "", path.name.split(".")[0]) or path.parent.name or name


def epoch(components):
  """Examples of an epoch: as many as it takes, at these weights, to see every source as a whole.

  With weights that are the sources' sizes this is their sum.
  """
  sizes = [len(source.get(**unchecked(**component["data"])))
           for _, component in switched_on(components)]
  # The fraction of a share times its size may be 1e-16 above a whole number.
  return max(math.ceil(round(size / share, 6)) for size, share in zip(sizes, shares(components)))


def unchecked(name, **kw):
  """The data of a component, which the Mixture checks: not all of them a second time."""
  checks = name in source.CHECKED and "check" not in kw
  return dict(kw, name=name, **({"check": False} if checks else {}))
