"""TEDS: equal to PubTabNet's code on 160 pairs, its rules one by one, speed, bad input."""
import json
import pathlib
import time

import pytest

from evaluators.metrics import tables

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "tables.json").read_text())["teds"]


def doc(rows):
  return f"<html><body><table>{rows}</table></body></html>"


ROW = "<tr><td>ab</td><td>cd</td></tr>"


def test_equals_pubtabnet():
  """Whole, cut off and broken predictions; half of them score between .1 and .95."""
  assert len(GOLDEN) == 160 and sum(.1 < case[2] < .95 for case in GOLDEN) >= 80
  for prediction, truth, score, structure in GOLDEN:
    assert tables.teds(prediction, truth) == pytest.approx(score, abs=1e-9)
    assert tables.teds(prediction, truth, structure_only=True) == pytest.approx(structure, abs=1e-9)


@pytest.mark.parametrize("prediction, truth, score, structure", [
    (doc(ROW), doc(ROW), 1, 1),
    (doc(ROW), doc("<tr><td>ab</td><td>ce</td></tr>"), 1 - .5 / 3, 1),  # one of two characters
    (doc(ROW), doc("<tr><td>ab</td></tr>"), 1 - 1 / 3, 1 - 1 / 3),
    (doc(ROW), doc("<tr><td>ab</td><td colspan=2>cd</td></tr>"), 1 - 1 / 3, 1 - 1 / 3),
    # A tag within a cell is a symbol, and an element that counts: 2 of 4 symbols, 4 elements.
    (doc(ROW), doc("<tr><td>ab</td><td><b>cd</b></td></tr>"), 1 - .5 / 4, 1),
    # A <th> has no contents, the tags in it are nodes.
    (doc("<tr><th>x</th></tr>"), doc("<tr><th>y</th></tr>"), 1, 1),
    (doc("<tr><th><b>x</b></th></tr>"), doc("<tr><th>y</th></tr>"), 1 - 1 / 3, 1 - 1 / 3),
    (doc(ROW), doc(f"<tbody>{ROW}</tbody>"), 1 - 1 / 4, 1 - 1 / 4),
    # Other attributes, tags' case, entities, and what stands between cells do not count.
    (doc("<TR> <TD coords='1,2' COLSPAN=\"1\">&#97;b</TD> <td>cd</td></TR>"), doc(ROW), 1, 1),
    (doc("<tr><td>\u2028</td></tr>"), doc("<tr><td> </td></tr>"), 1 - 1 / 2, 1),
    # A span that is no integer counts as 1; PubTabNet's code raises.
    (doc("<tr><td colspan='x'>ab</td><td>cd</td></tr>"), doc(ROW), 1, 1),
    (doc(""), doc(""), 1, 1),  # there 0 / 0
    (doc(""), doc(ROW), 0, 0),
    # No <html>, a table in a <div>, no table, nothing: none to compare.
    (f"<table>{ROW}</table>", doc(ROW), 0, 0),
    (f"<html><body><div><table>{ROW}</table></div></body></html>", doc(ROW), 0, 0),
    ("no table", doc(ROW), 0, 0), ("", doc(ROW), 0, 0), (doc(ROW), "", 0, 0), ("", "", 0, 0),
    # Where the truth is a bare table, so may be the prediction.
    (f"<table>{ROW}</table>", f"<table>{ROW}</table>", 1, 1),
    (doc(ROW), f" <TABLE border=1>{ROW}</TABLE>", 1, 1),
    ("no table", f"<table>{ROW}</table>", 0, 0),
])
def test_rules(prediction, truth, score, structure):
  assert tables.teds(prediction, truth) == pytest.approx(score)
  assert tables.teds(prediction, truth, structure_only=True) == pytest.approx(structure)


def test_trees_without_likeness_score_below_zero():
  """As by the official code: 7 edits for 4 elements."""
  chain = doc("<table><i></tr><tfoot><a>")
  flat = doc("<td></td><th></th><td></td><td></td>")
  assert tables.teds(chain, flat) < 0


def grid(rows, columns, seed):
  return doc("".join("<tr>" + "".join(f"<td>{(r * 31 + c * 17 + seed) % 97:.3f} ± {seed}</td>"
                                      for c in range(columns)) + "</tr>" for r in range(rows)))


@pytest.mark.parametrize("rows, columns", [(20, 10), (200, 1), (1, 200)])
def test_two_hundred_cells_take_less_than_a_second(rows, columns):
  start = time.process_time()
  tables.teds(grid(rows, columns, 3), grid(rows, columns, 14))
  assert time.process_time() - start < 1


def test_mean():
  truths = {"a": doc(ROW), "b": doc(ROW), "c": doc(ROW)}
  value, scores = tables.mean(tables.teds, {"a": doc(ROW), "b": "cut off"}, truths)
  assert (value, scores) == (pytest.approx(1 / 3), {"a": 1, "b": 0, "c": 0})
  bare = {i: f"<table>{ROW}</table>" for i in truths}
  assert tables.mean(tables.grits_con, bare, bare)[0] == 1


@pytest.mark.parametrize("predictions, truths, named", [
    ({"x": ""}, {"a": doc(ROW)}, r"1 predictions for ids that are not among the 1 tables, .*'x'"),
    ({}, {}, "No tables"),
    ({}, {"a": doc(ROW), "b": ""}, "1 tables to compare with have no <table> .* id 'b': ''"),
])
def test_sets_that_do_not_fit(predictions, truths, named):
  with pytest.raises(ValueError, match=named):
    tables.mean(tables.teds, predictions, truths)
