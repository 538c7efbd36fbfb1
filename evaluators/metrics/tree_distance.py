"""Distance of two ordered, labelled trees: the cheapest edits that make one of the other.

Zhang and Shasha's dynamic programme (SIAM J. Comput. 18(6), 1989) in numpy. Nodes are numbered in
postorder, children before their parent; `first` tells for each node the lowest number in its
subtree, that is its leftmost leaf. A tree's keyroots are the nodes with a left sibling, and the
root: only for their subtrees a table of forests is filled, and keyroots that do not contain each
other are filled together. A table of 200 cells against another takes about 0.2 s.
"""
import numpy as np


def tree_distance(first1, first2, rename):
  """Tree edit distance; inserting or deleting a node costs 1.

  Args:
    first1, first2: int [N], [M], for each node in postorder the lowest number in its subtree.
    rename: float [N, M], cost of turning a node into another, 0..1.

  Returns:
    float >= 0. With ties in cost the distance is the same, whatever mapping attains it.
  """
  first1 = np.asarray(first1)
  batches = list(_batches(np.asarray(first2)))
  trees = np.zeros(rename.shape)  # distance of each pair of subtrees
  for root in np.unique(first1.size - 1 - np.unique(first1[::-1], return_index=True)[1]):
    for batch in batches:
      _fill(trees, first1, root, rename, *batch)
  return float(trees[-1, -1])


def _batches(first):
  """[(nodes [K, W], before [K, W], inside [K, W])], small subtrees first, one row per keyroot.

  nodes: numbers of the keyroot's subtree, the last one repeated where it is narrower than W.
  before: how many nodes of the subtree lie left of the node's own subtree.
  inside: False where a number is such a repetition.
  """
  roots = np.unique(first.size - 1 - np.unique(first[::-1], return_index=True)[1])
  level = np.full(first.size, -1)  # how deep keyroots are nested in a keyroot
  for root in roots:
    level[root] = level[first[root]:root].max(initial=-1) + 1
  for n in range(level.max() + 1):
    of_level = roots[level[roots] == n]
    width = (of_level - first[of_level]).max() + 1
    columns = first[of_level][:, None] + np.arange(width)
    inside = columns <= of_level[:, None]
    nodes = np.minimum(columns, of_level[:, None])
    yield nodes, first[nodes] - first[of_level][:, None], inside


def _fill(trees, first1, root, rename, nodes, before, inside):
  """Puts into `trees` the distances of root's leftmost chain of subtrees from those of a batch."""
  begin = first1[root]
  batch = np.arange(len(nodes))[:, None]
  steps = np.arange(nodes.shape[1] + 1.)
  forests = np.empty((root - begin + 2, len(nodes), len(steps)))  # [rows, K, 1 + W]
  forests[0] = steps
  whole = (before == 0) & inside
  for row, node in enumerate(range(begin, root + 1), 1):
    above = forests[row - 1]
    lefts = first1[node] - begin
    joined = forests[lefts][batch, before] + trees[node, nodes]
    if not lefts:  # both are trees: their own distance is being computed here
      joined = np.where(before == 0, above[:, :-1] + rename[node, nodes], joined)
    forests[row, :, 0] = row
    forests[row, :, 1:] = np.minimum(joined, above[:, 1:] + 1)
    # Insertions: each entry is at most its left neighbour + 1.
    forests[row] = np.minimum.accumulate(forests[row] - steps, axis=1) + steps
    if not lefts:
      trees[node, nodes[whole]] = forests[row, :, 1:][whole]
