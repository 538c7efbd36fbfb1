"""Part of a source: from one place to another, and what a filter lets through.

  dict(name="jsonl", path="all.jsonl", stop=-1000)                  all but the last thousand
  dict(name="parquet", path="data/*.parquet", start=1000, stop=2000)
  dict(name="webdataset", path="x.tar", filter=(("json/lang", "in", ("de", "en")),
                                                ("json/width", ">=", 224)))

start and stop count the examples of the source in its order, as a Python slice does. A filter is a
tuple of (field, comparison, value), as in pyarrow: an example passes if all hold. "/" goes into
dicts and lists; a field that an example lacks is None. It is applied once, when the source is
opened, to all fields but images.
"""
import operator
import time

import numpy as np

from pp.names import pick

NOTE = 10  # seconds between lines about the progress of a filter
ORDERED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
COMPARISONS = {"==": operator.eq, "!=": operator.ne, **ORDERED,
               "in": lambda a, b: a in b, "not in": lambda a, b: a not in b}


class Subset:
  """Random access to some examples of a source, which keep their ids and order.

  Raises ValueError if none is left, and for a comparison that cannot be made.
  """

  def __init__(self, examples, start=None, stop=None, filter=None):
    for name, value in (("start", start), ("stop", stop)):
      if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError(f"{name}={value!r} of a source is a number of examples, or below 0 to "
                         "count from the end.")
    self._examples = examples
    self._indices = np.arange(len(examples), dtype=np.int64)[start:stop]
    rules = _rules(filter)
    if rules:
      self._indices = _passing(examples, self._indices, rules)
    if not len(self._indices):
      said = [f"{k}={v!r}" for k, v in (("start", start), ("stop", stop), ("filter", filter)) if v]
      raise ValueError(f"{', '.join(said)} leaves none of the {len(examples):,} examples of "
                       f"{where(examples, 0)} and those after it.")

  def __len__(self):
    return len(self._indices)

  def __getitem__(self, index):
    return self._examples[self._at(index)]

  def fields(self, index):
    return fields(self._examples, self._at(index))

  def where(self, index):
    return where(self._examples, self._at(index))

  def class_names(self, key):
    """[name] of the classes that the source numbers under a key, or None."""
    return getattr(self._examples, "class_names", lambda key: None)(key)

  def fingerprint(self):
    """That of the whole source: what is taken of it, the config says."""
    return self._examples.fingerprint()

  def _at(self, index):
    if not 0 <= index < len(self):
      raise IndexError(f"There are {len(self)} examples: there is no {index}.")
    return int(self._indices[index])


def fields(examples, index):
  """The fields of an example, without its images where the source can leave them unread."""
  return examples.fields(index) if hasattr(examples, "fields") else examples[index]


def where(examples, index):
  """The place of an example, for messages."""
  return examples.where(index) if hasattr(examples, "where") else examples[index]["_id"]


def _rules(filter):
  """[(path, comparison, value)] of a config's filter."""
  rules = []
  if not isinstance(filter or (), (tuple, list)):
    raise ValueError(f"filter={filter!r:.60} is not a tuple of (field, comparison, value), such as "
                     "(('lang', '==', 'de'),).")
  for rule in filter or ():
    if not (isinstance(rule, (tuple, list)) and len(rule) == 3 and isinstance(rule[0], str)):
      raise ValueError(f"{rule!r} of filter is not (field, comparison, value), such as ('lang', "
                       "'==', 'de'); filter is a tuple of them.")
    pick(COMPARISONS, rule[1], "comparison of a filter")
    if "in" in rule[1] and not isinstance(rule[2], (tuple, list)):
      raise ValueError(f"{rule!r} of filter: {rule[1]!r} needs several values, such as ('de', "
                       "'en').")
    rules.append((rule[0].split("/"), *rule[1:]))
  return rules


def _passing(examples, indices, rules):
  """The indices of the examples for which all rules hold."""
  kept, began, seen = [], time.monotonic(), set()
  for n, index in enumerate(indices.tolist()):
    if time.monotonic() - began > NOTE:
      began = time.monotonic()
      print(f"filtered {n:,} of {len(indices):,} examples", flush=True)
    example = fields(examples, index)
    values = [_at(example, path) for path, _, _ in rules]
    seen |= {i for i, value in enumerate(values) if value is not None}
    try:
      if all(_holds(value, *rule[1:]) for value, rule in zip(values, rules)):
        kept.append(index)
    except TypeError as e:
      raise ValueError(f"{where(examples, index)}: the filter cannot compare it: {e}.") from None
  if len(indices) and (absent := [rules[i] for i in range(len(rules)) if i not in seen]):
    raise ValueError(f"The filter names {'/'.join(absent[0][0])!r}, which no example has; the "
                     f"last one has {', '.join(map(repr, example))}.")
  return np.array(kept, np.int64)


def _holds(value, comparison, wanted):
  if value is None and comparison in ORDERED:
    return False
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, (np.ndarray, list, dict)):
    raise TypeError(f"{str(value)[:60]} is neither a number nor a text")
  return COMPARISONS[comparison](value, wanted)


def _at(value, path):
  for name in path:
    if isinstance(value, dict):
      value = value.get(name)
    elif isinstance(value, (list, np.ndarray)) and name.isdigit() and int(name) < len(value):
      value = value[int(name)]
    else:
      return None
  return value
