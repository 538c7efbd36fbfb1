"""Scores of tables written as HTML: TEDS and S-TEDS here, GriTS by evaluators/metrics/grits.py.

  teds           1 - tree edit distance / nodes of the larger tree, contents of cells included
  structure_only S-TEDS: the same with all cells empty
  grits_top      F of the most similar sub-tables, by the spans of their cells (structure)
  grits_con      the same by the text of their cells

All are 1 for equal tables; published tables show them x100.
"""
import re

import numpy as np

from evaluators.metrics.edit import edit_distance
from evaluators.metrics.grits import grits, grits_con, grits_top  # noqa: F401
from evaluators.metrics.table_html import table_events
from evaluators.metrics.tree_distance import tree_distance

BARE = re.compile(r"\s*<table[\s/>]", re.IGNORECASE)


def teds(prediction_html, truth_html, structure_only=False):
  """Tree-edit-distance-based similarity of two tables (Zhong et al. 2020, arXiv 1911.10683).

  As PubTabNet's official src/metric.py: 1 - distance / n, n the larger number of elements below
  <table>, those within cells included. Insertion and deletion cost 1; renaming costs 1 where tag,
  colspan or rowspan differ, and otherwise, for <td>, the edit distance of the contents over the
  longer length, where a character is a symbol and so is a tag like <b>. Only <td> has contents:
  what stands in a <th> does not count, but tags in it are nodes. Attributes other than the two
  spans do not count. Zero is not a lower limit: two unlike trees may cost more than n edits.

  Args:
    prediction_html, truth_html: str, documents "<html><body><table>...". The table is the first
      that is a child of the body; any other ("<table>" alone, a table within a <div>) is none.
      Where the truth is a bare "<table>...", which the official code scores 0 whatever the
      prediction, both may be bare.
    structure_only: True for S-TEDS, which takes every cell for empty.

  Returns:
    float <= 1. 0 where one of them has no table, as the official code; 1 for two tables without
    an element, where that divides by zero. A span that is not an integer counts as 1, where the
    official code breaks off.
  """
  if BARE.match(truth_html):
    prediction_html, truth_html = map(_document, (prediction_html, truth_html))
  prediction, truth = (_tree(table_events(text), structure_only)
                       for text in (prediction_html, truth_html))
  if not prediction or not truth:
    return 0.
  elements = max(prediction["elements"], truth["elements"])
  if not elements:
    return 1.
  costs = _rename_costs(prediction["nodes"], truth["nodes"])
  return 1 - tree_distance(prediction["first"], truth["first"], costs) / elements


def mean(score, predictions, truths):
  """(mean, {id: score}) of a score such as `teds` or `grits_top` over a set of tables.

  Args:
    score: function (prediction_html, truth_html) -> float.
    predictions, truths: {id: html}. A truth without a prediction scores 0, as in PubTabNet.

  Raises:
    ValueError: for no truths, a truth without a table, and a prediction for an unknown id.
  """
  if not truths:
    raise ValueError("No tables to compare with: the mean of no scores is undefined.")
  if unknown := [i for i in predictions if i not in truths]:
    raise ValueError(f"{len(unknown)} predictions for ids that are not among the {len(truths)} "
                     f"tables, e.g. {unknown[:3]}; known are e.g. {list(truths)[:3]}.")
  if without := [i for i, html in truths.items() if not table_events(_document(html))]:
    raise ValueError(f"{len(without)} tables to compare with have no <table> in their body, "
                     f"e.g. that of id {without[0]!r}: {truths[without[0]][:80]!r}.")
  scores = {i: score(predictions[i], html) if i in predictions else 0.
            for i, html in truths.items()}
  return sum(scores.values()) / len(scores), scores


def _document(html):
  return f"<html><body>{html}</body></html>" if BARE.match(html) else html


def _tree(events, structure_only):
  """Events of a table -> what the distance needs of it, nodes in postorder; None for no events.

  {"nodes": [(tag, or (tag, colspan, rowspan) of a cell, contents)], "first": as in tree_distance,
   "elements": how many there are below <table>, those within cells included}
  """
  if not events:
    return None
  nodes, first, open_nodes = [], [], []
  cell, depth, after_cell = None, 0, False  # symbols of the open <td>, elements open within it
  for kind, value, spans in events:
    if cell is not None and not (kind == "close" and not depth):
      depth += (kind == "open") - (kind == "close")
      if kind == "text":
        cell += () if after_cell else value  # what follows a cell within a cell is passed over
      elif kind == "open":
        cell.append(f"<{value}>")
      elif value != "unk":
        cell.append(f"</{value}>")
      after_cell = after_cell if kind == "text" else (kind, value) == ("close", "td")
    elif kind == "open":
      open_nodes.append((value, spans, len(nodes)))
      if value == "td":
        cell, after_cell = [], False
    elif kind == "close":
      tag, spans, begin = open_nodes.pop()
      if tag == "td":
        tag = tag, _span(spans.get("colspan", "1")), _span(spans.get("rowspan", "1"))
      nodes.append((tag, () if structure_only else tuple(cell or ())))
      first.append(begin)
      cell = None
  return {"nodes": nodes, "first": first,
          "elements": sum(kind == "open" for kind, *_ in events) - 1}


def _span(text):
  try:
    return int(text)
  except ValueError:
    return 1


def _rename_costs(nodes1, nodes2):
  """float [N, M]; nodes that are the same are compared once."""
  kinds1, kinds2 = list(dict.fromkeys(nodes1)), list(dict.fromkeys(nodes2))
  costs = np.array([[_rename_cost(a, b) for b in kinds2] for a in kinds1])
  index1, index2 = ([{kind: i for i, kind in enumerate(kinds)}[node] for node in nodes]
                    for kinds, nodes in ((kinds1, nodes1), (kinds2, nodes2)))
  return costs[np.ix_(index1, index2)]


def _rename_cost(a, b):
  if a == b:
    return 0.
  (tag_a, contents_a), (tag_b, contents_b) = a, b
  if tag_a != tag_b:
    return 1.
  return edit_distance(contents_a, contents_b) / max(len(contents_a), len(contents_b))
