"""Tree edit distance: against the recursive definition on drawn trees, and by hand."""
import functools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from evaluators.metrics.tree_distance import tree_distance

# A tree is (label, children).
TREES = st.recursive(st.tuples(st.integers(0, 2), st.just(())), lambda inner: st.tuples(
    st.integers(0, 2), st.lists(inner, max_size=3).map(tuple)), max_leaves=6)
COSTS = np.array([[0, .25, 1], [.25, 0, .5], [1, .5, 0]])


def distance(tree1, tree2):
  (labels1, first1), (labels2, first2) = postorder(tree1), postorder(tree2)
  return tree_distance(first1, first2, COSTS[np.ix_(labels1, labels2)])


def postorder(tree):
  labels, first = [], []
  def visit(node):
    begin = len(labels)
    for child in node[1]:
      visit(child)
    labels.append(node[0])
    first.append(begin)
  visit(tree)
  return labels, first


@functools.cache
def by_definition(forest1, forest2):
  """The last root of either forest is deleted or inserted, or the two are matched."""
  if not forest1 or not forest2:
    return sum(map(size, forest1 + forest2))
  (a, below1), (b, below2) = forest1[-1], forest2[-1]
  return min(by_definition(forest1[:-1] + below1, forest2) + 1,
             by_definition(forest1, forest2[:-1] + below2) + 1,
             by_definition(forest1[:-1], forest2[:-1]) + by_definition(below1, below2)
             + COSTS[a, b])


def size(tree):
  return 1 + sum(map(size, tree[1]))


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(TREES, TREES)
def test_equals_the_definition(tree1, tree2):
  assert distance(tree1, tree2) == pytest.approx(by_definition((tree1,), (tree2,)), abs=1e-12)


@pytest.mark.parametrize("tree1, tree2, expected", [
    ((0, ()), (0, ()), 0),
    ((0, ()), (2, ()), 1),
    ((0, ((1, ()), (2, ()))), (0, ((2, ()), (1, ()))), 1),  # renaming both costs .5 + .5
    ((0, ((0, ((1, ()),)),)), (0, ((1, ()),)), 1),  # a node between is deleted
    ((0, ((1, ()),) * 3), (0, ()), 3),
])
def test_by_hand(tree1, tree2, expected):
  assert distance(tree1, tree2) == distance(tree2, tree1) == pytest.approx(expected)
