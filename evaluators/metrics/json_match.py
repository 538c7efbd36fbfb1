"""How much of a JSON value was found: fields that match, and the edit distance of the trees.

As Donut (arXiv 2111.15664) measures documents: fields are compared whatever their order, and a tree
counts the edits of its nodes, a text those of its characters.
"""
import collections
import json

import numpy as np

from evaluators.metrics.edit import edit_distance
from evaluators.metrics.tree_distance import tree_distance

MAX_NODES = 2000  # of a tree; a larger prediction is compared as far as that


def parse(text):
  """(value of a JSON text, True), or (None, False) for what is none."""
  def refuse(name):
    raise ValueError(name)
  try:
    return json.loads(text, parse_constant=refuse), True
  except (ValueError, RecursionError):
    return None, False


def same(a, b):
  """Whether two JSON values are equal; 1 and 1.0 are, 1 and true are not."""
  if isinstance(a, dict) and isinstance(b, dict):
    return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
  if isinstance(a, list) and isinstance(b, list):
    return len(a) == len(b) and all(map(same, a, b))
  return a == b and isinstance(a, bool) == isinstance(b, bool)


def fields(value):
  """Counter of (path, value written as JSON): the leaves of a value. The items of a list share a
  path, so that their order does not count; an empty list or object is a leaf."""
  found, waiting = collections.Counter(), [((), value)]
  while waiting:
    path, value = waiting.pop()
    if isinstance(value, dict) and value:
      waiting += [((*path, name), x) for name, x in value.items()]
    elif isinstance(value, list) and value:
      waiting += [((*path, 0), x) for x in value]
    else:
      found[path, _written(value)] += 1
  return found


def _written(value):
  """1.0 as 1."""
  whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
  return json.dumps(int(value) if whole else value)


def field_counts(prediction, truth):
  """(fields in both, fields of the prediction, fields of the truth) of two Counters of fields()."""
  return (prediction & truth).total(), prediction.total(), truth.total()


def tree_accuracy(prediction, truth):
  """1 - distance of the trees / distance of no tree from the truth, at least 0.

  prediction, truth: JSON values. A node is the name of a field, an item of a list, or a leaf;
  fields are sorted by name. Adding or dropping a node costs 1, another name 1, and another leaf the
  edit distance of their texts over the longer one.
  """
  (first1, nodes1), (first2, nodes2) = _tree(prediction), _tree(truth)
  cost = {}
  for a in set(nodes1):
    for b in set(nodes2):
      same_kind = a[0] == b[0]
      longest = max(len(a[1]), len(b[1]), 1)
      cost[a, b] = (1. if not same_kind else edit_distance(a[1], b[1]) / longest
                    if a[0] == "leaf" else float(a != b))
  rename = np.array([[cost[a, b] for b in nodes2] for a in nodes1])
  return max(0., 1 - tree_distance(first1, first2, rename) / len(nodes2))


def _tree(value):
  """(int [N]: the lowest number in each node's subtree, [(kind, label)]), in postorder."""
  first, nodes = [], []

  def add(kind, label, children):
    begin = len(nodes)
    for child in children:
      if len(nodes) < MAX_NODES:
        add(*child)
    nodes.append((kind, label))
    first.append(begin)

  def below(value):
    if isinstance(value, dict):
      return [("name", name, below(value[name])) for name in sorted(value)]
    if isinstance(value, list):
      return [("item", "", below(x)) for x in value]
    return [("leaf", value if isinstance(value, str) else _written(value), ())]
  add("root", "", below(value))
  return np.array(first), nodes
