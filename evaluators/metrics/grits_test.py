"""GriTS: equal to table-transformer's code on 100 pairs, its rules, bad input."""
import json
import pathlib

import pytest

from evaluators.metrics.grits import grits, grits_con, grits_top

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "tables.json").read_text())["grits"]


def table(*rows):
  return "<table>" + "".join(
      "<tr>" + "".join(cell if cell[:1] == "<" else f"<td>{cell}</td>" for cell in row.split("|"))
      + "</tr>" for row in rows) + "</table>"


def test_equals_table_transformer():
  assert len(GOLDEN) == 100 and sum(.1 < case[3][0] < .95 for case in GOLDEN) >= 50
  for prediction, truth, *expected in GOLDEN:
    scores = grits(prediction, truth)
    for kind, values in zip(("top", "con"), expected, strict=True):
      names = f"grits_{kind} grits_precision_{kind} grits_recall_{kind} grits_{kind}_upper_bound"
      assert [scores[name] for name in names.split()] == pytest.approx(values, abs=1e-9)


@pytest.mark.parametrize("prediction, truth, top, con", [
    (table("a|b", "c|d"), table("a|b", "c|d"), 1, 1),
    (table("a|b"), table("a|b", "c|d"), 2 / 3, 2 / 3),  # precision 1, recall 1/2
    (table("c|d", "a|b"), table("a|b", "c|d"), 1, .5),  # order counts: one row matches
    (table("ab|cd"), table("ab|ce"), 1, .75),
    # A cell of two columns, seen from each of its positions, is [0 2] and [-1 1]: overlap 1/2.
    (table("<td colspan='2'>a</td>"), table("a|a"), .5, 1),
    (table("<td rowspan='2'>a</td>|b", "c"), table("a|b", "a|c"), .75, 1),
    (table("<th>a</th>|b"), f"<html><body>{table('a|b')}</body></html>", 1, 1),
    (table("<td><b>a</b>b</td>"), table("a b"), 1, 1),  # pieces of text are joined by a space
    # Where the official code breaks off.
    (table("a|b", "c"), table("a|b", "c|"), 1, 1),  # a hole is an empty cell
    ("<table><td>a</td><tr><td>b</td></tr></table>", table("a|b"), 1, 1),
    (table("<td colspan='x'>a</td>|<td rowspan='0'>b</td>"), table("a|b"), 1, 1),
    ("<table><tr><td>a", table("a"), 0, 0), ("", table("a"), 0, 0),
    ("<table><tr><td>&nbsp;</td></tr></table>", table("a"), 0, 0),
    (table("<td rowspan='1000' colspan='1000'>a</td>"), table("a"), 0, 0),
    (table("<td rowspan='1000'>a</td>", "<td colspan='1000'>a</td>"), table("a"), 0, 0),
    (table("<td colspan='99999999999'>a</td>"), table("a"), 2 / 1001 / 1000, 2 / 1001),
    ("<table></table>", "<table></table>", 1, 1), ("<table></table>", table("a"), 0, 0),
])
def test_rules(prediction, truth, top, con):
  assert (grits_top(prediction, truth), grits_con(prediction, truth)) == pytest.approx((top, con))


@pytest.mark.parametrize("truth", [
    "", "<table><tr><td>a", table("<td rowspan='1000' colspan='1000'>a</td>")])
def test_bad_truth(truth):
  with pytest.raises(ValueError, match="GriTS reads well-formed XML"):
    grits(table("a"), truth)
