"""GriTS: how much of a table's grid of cells another table shares (Smock et al. 2022).

Two grids are compared by their most similar sub-grids: some rows and some columns of each, in
order, that agree best, cell by cell. Finding them is NP-hard; as in the paper (arXiv 2203.12555)
and in table-transformer's src/grits.py, rows and columns are chosen apart, each by an alignment of
sequences whose reward is the alignment of their cells.

  top  similarity of two cells: overlap of their extents seen from the position in the grid
  con  similarity of two cells' texts: 2 x matched characters / characters, by difflib

Precision is the summed similarity over the positions of the prediction's grid, recall over those of
the truth's, F their harmonic mean. The upper bound is of F for any choice of rows and columns.
"""
import difflib
import math
import xml.etree.ElementTree as ET

import numpy as np

MAX_SPAN = 1000  # as browsers do
MAX_POSITIONS = 10_000  # of a grid; two such need 0.8 GB


def grits_top(prediction_html, truth_html):
  """GriTS-Top F in 0..1, the similarity of two tables' structure; see `grits`."""
  return grits(prediction_html, truth_html, ("top",))["grits_top"]


def grits_con(prediction_html, truth_html):
  """GriTS-Con F in 0..1, the similarity of two tables' texts in place; see `grits`."""
  return grits(prediction_html, truth_html, ("con",))["grits_con"]


def grits(prediction_html, truth_html, kinds=("top", "con")):
  """GriTS of two tables, as table-transformer's grits_from_html.

  Cells are all <td> and <th>; the element around them does not matter, so <table> may be bare. A
  cell's text is all text within it, its pieces joined by a space.

  Args:
    prediction_html, truth_html: str, HTML that is well-formed XML (<br/>, no &nbsp;).
    kinds: which of "top" and "con" to compute.

  Returns:
    {"grits_top", "grits_precision_top", "grits_recall_top", "grits_top_upper_bound", and the same
    with con}: floats in 0..1. Where the official code breaks off: all are 0 for a prediction that
    is not XML or whose grid has more than MAX_POSITIONS; a position without a cell is an empty
    cell; cells before the first <tr> belong to it; a span that is not an integer from 1 to MAX_SPAN
    counts as 1 or as MAX_SPAN. Two tables without a cell score 1, one without against another 0.

  Raises:
    ValueError: for a truth that is not well-formed XML or too large.
  """
  try:
    truth = _cells(truth_html)
  except (ET.ParseError, ValueError) as e:
    raise ValueError("GriTS reads well-formed XML, which the table to compare with is not, or it "
                     f"is too large: {e}, in {truth_html[:80]!r}.") from e
  try:
    prediction = _cells(prediction_html)
  except (ET.ParseError, ValueError):
    prediction = None
  scores = {}
  for kind in kinds:
    names = (f"grits_{kind}", f"grits_precision_{kind}", f"grits_recall_{kind}",
             f"grits_{kind}_upper_bound")
    if prediction is None:
      scores.update(dict.fromkeys(names, 0.))
    else:
      similarities = _similarities(_grid(truth, kind), _grid(prediction, kind), SIMILARITY[kind])
      scores.update(zip(names, _most_similar(similarities), strict=True))
  return scores


def _cells(html):
  """[(row, column, rows, columns, text)] of a table's cells, in the order of the text."""
  cells, taken, row, size = [], {}, -1, 0
  for element in ET.fromstring(html).iter():
    if element.tag == "tr":
      row += 1
    elif element.tag in ("td", "th"):
      rows, columns = _span(element, "rowspan"), _span(element, "colspan")
      here = max(row, 0)
      column = next(c for c in range(len(taken.get(here, ())) + 1) if c not in taken.get(here, ()))
      if (size := size + rows * columns) > MAX_POSITIONS:
        break
      for r in range(here, here + rows):
        taken.setdefault(r, set()).update(range(column, column + columns))
      cells.append((here, column, rows, columns, " ".join(element.itertext())))
  if max(size, math.prod(_shape(cells))) > MAX_POSITIONS:
    raise ValueError(f"its grid has more than {MAX_POSITIONS} positions")
  return cells


def _span(element, name):
  try:
    return min(max(int(element.get(name, "1")), 1), MAX_SPAN)
  except ValueError:
    return 1


def _shape(cells):
  return (max((row + rows for row, _, rows, _, _ in cells), default=0),
          max((column + columns for _, column, _, columns, _ in cells), default=0))


def _grid(cells, kind):
  """Rows of features of the cell at each position; where cells overlap, the last."""
  rows, columns = _shape(cells)
  grid = [[EMPTY[kind]] * columns for _ in range(rows)]
  for row, column, height, width, text in cells:
    for r in range(row, row + height):
      for c in range(column, column + width):
        extent = (column - c, row - r, column + width - c, row + height - r)
        grid[r][c] = text if kind == "con" else extent
  return grid


def _overlap(a, b):
  """Intersection of two extents over the rectangle around both. Both hold the unit square."""
  inner = (min(a[2], b[2]) - max(a[0], b[0])) * (min(a[3], b[3]) - max(a[1], b[1]))
  outer = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
  return inner / outer


def _likeness(truth, prediction):
  if truth == prediction:
    return 1.
  blocks = difflib.SequenceMatcher(None, truth, prediction).get_matching_blocks()
  return 2 * sum(block.size for block in blocks) / (len(truth) + len(prediction))


EMPTY = {"top": (0, 0, 1, 1), "con": ""}
SIMILARITY = {"top": _overlap, "con": _likeness}


def _similarities(truth, prediction, similarity):
  """Two grids -> float [R, C, S, D] for rows R, S and columns C, D; like cells compared once."""
  kinds, indices = [], []
  for grid in (truth, prediction):
    number = {}
    index = [[number.setdefault(cell, len(number)) for cell in row] for row in grid]
    indices.append(np.array(index, int).reshape(len(grid), len(grid[0]) if grid else 0))
    kinds.append(number)
  table = np.array([[similarity(a, b) for b in kinds[1]] for a in kinds[0]])
  table = table.reshape(len(kinds[0]), len(kinds[1]))
  return table[indices[0][:, :, None, None], indices[1]]


def _most_similar(similarities):
  """float [R, C, S, D] -> (F, precision, recall, upper bound of F)."""
  row_score, rows = _align(_align_inner(similarities))
  column_score, columns = _align(_align_inner(similarities.transpose(1, 0, 3, 2)))
  total = sum(similarities[r, c, s, d] for r, s in rows for c, d in columns)
  r, c, s, d = similarities.shape
  f, precision, recall = _f_score(total, r * c, s * d)
  return f, precision, recall, _f_score(min(row_score, column_score), r * c, s * d)[0]


def _f_score(matched, true, predicted):
  precision = float(matched / predicted) if predicted else 1.
  recall = float(matched / true) if true else 1.
  total = precision + recall
  return 2 * precision * recall / total if total else 0., precision, recall


def _align_inner(similarities):
  """[R, C, S, D] -> [R, S]: for each pair of rows the best reward of aligning their cells."""
  r, columns, s, others = similarities.shape
  best = np.zeros((others + 1, r, s))  # for the cells so far of the one row, of the other
  for c in range(columns):
    above, best = best, np.zeros_like(best)
    for d in range(others):
      best[d + 1] = np.maximum(above[d] + similarities[:, c, :, d],
                               np.maximum(above[d + 1], best[d]))
  return best[-1]


def _align(rewards):
  """[R, S] -> (best total, [(r, s)] aligned, in order).

  Where several alignments are best, the pair is preferred to skipping, and skipping the truth's row
  to the prediction's: the columns' choice is made apart, so it matters which is taken.
  """
  best = np.zeros((rewards.shape[0] + 1, rewards.shape[1] + 1))
  for r, row in enumerate(rewards):
    for s, reward in enumerate(row):
      best[r + 1, s + 1] = max(best[r, s] + reward, best[r, s + 1], best[r + 1, s])
  pairs, (r, s) = [], rewards.shape
  while r and s:
    if best[r, s] == best[r - 1, s - 1] + rewards[r - 1, s - 1]:
      r, s = r - 1, s - 1
      pairs.append((r, s))
    elif best[r, s] == best[r - 1, s]:
      r -= 1
    else:
      s -= 1
  return best[-1, -1], pairs[::-1]
