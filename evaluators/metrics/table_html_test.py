"""Reading of sloppy HTML: the events of a table, drawn as the tree that they make."""
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from evaluators.metrics.table_html import table_events

# What lxml 6.1.3 makes of <html><body> and the text; "" where there is no body/table.
TREES = [
    ("<table><tr><td>a</td><td>b</td></tr></table>", "table(tr(td(a)td(b)))"),
    ("<table><tr><td>a<td>b<tr><td>c", "table(tr(td(a)td(b))tr(td(c)))"),
    ("<table><thead><tr><td>x<tbody><tr><td>y", "table(thead(tr(td(x)))tbody(tr(td(y))))"),
    ("<table><tr><td><b>a</td><td>b</b></td></table>", "table(tr(td(b(a))td(b)))"),
    ("<table><tr><td><sup>a<td>b", "table(tr(td(sup(atd(b)))))"),
    ("<table><tr><td>a</b>c</td></tr></tbody></table>", "table(tr(td(ac)))"),
    ("<table><td>a</td></table>", "table(td(a))"),  # no row is put in
    ("<table><tr><td>a<br>b<br/>c<sup/>d</td>", "table(tr(td(abr()bbr()csup()d)))"),
    ("<table><tr><td>x<p>y<p>z</td>", "table(tr(td(xp(y)p(z))))"),
    ("<table><tr><td><table><tr><td>in</table></td><td>out</table>",
     "table(tr(td(table(tr(td(in))))td(out)))"),
    ("<table><tr><td>5<6 &lt; 7>6 &amp &nbsp;&bogus;", "table(tr(td(5<6 < 7>6 & \xa0&bogus;)))"),
    ("<table><tr><td>a<!-- <td> -->b<!x>c<?y>d</ z>e<!-->f", "table(tr(td(abcdef)))"),
    ("<table><tr><td>a<!-- no end <td>", "table(tr(td(a)))"),
    ("<table><tr><td>a</td><td colspan=\"2</td></tr></table>", "table(tr(td(a)))"),
    ("<table><tr><td>a</td", "table(tr(td(a)))"),
    ("<table><tr><td>a <", "table(tr(td(a <)))"),
    ("<TABLE><TR><TD ROWSPAN='3' x colspan = 2 coords=1>x</TABLE>",
     "table(tr(td colspan=2 rowspan=3(x)))"),
    ("<table><td colspan=2 colspan=3>", "table(td colspan=2())"),
    ("<table><td colspan=2/>x", "table(td colspan=2/(x))"),
    ("<table><tr>stray<td>a\u2028b\r\nc\0</table>", "table(tr(straytd(a\u2028b\nc\ufffd)))"),
    ("text<p>more<table></table><table><td>second", "table()"),
    ("<div><table><tr><td>a</table></div>", ""),
    ("<b><table><td>a", ""),
    ("</body><table><td>a", ""),
    ("</html><table><td>a", ""),
    ("<head><body><table><td>a</body>b<td>c", "table(td(abtd(c)))".replace("abtd(c)", "ab)td(c")),
    ("", ""),
]


def draw(events):
  text = ""
  for kind, value, spans in events:
    attributes = "".join(f" {k}={v}" for k, v in sorted((spans or {}).items()))
    text += {"open": f"{value}{attributes}(", "close": ")", "text": value}[kind]
  return text


@pytest.mark.parametrize("html, tree", TREES)
def test_repairs(html, tree):
  assert draw(table_events("<html><body>" + html)) == tree


@pytest.mark.parametrize("start, found", [
    ("<html><body>", True), (" \n<HTML>", True), ("<!doctype html>", True), ("<html>\nx", True),
    ("<html><head>", True), ("<html><head><meta x><style>td {}</style></head>", True),
    ("<html><head><title>t</title>", True), ("<html><style>td {}</style><body><p>", True),
    ("", False), ("<body>", False), ("x <html><body>", False)])
def test_only_whole_documents_have_a_table(start, found):
  assert bool(table_events(start + "<table><td>a</table>")) == found


def test_entities_and_events():
  assert table_events("<html><table><td rowspan='&#50;'>&lt;b&gt;") == [
      ("open", "table", {}), ("open", "td", {"rowspan": "2"}), ("text", "<b>", None),
      ("close", "td", None), ("close", "table", None)]


PIECES = st.sampled_from(
    "<table> </table> <tr> </tr> <td> </td> <th> <tbody> <b> </b> <p> <br> <td/> <x> < > & a "
    "<head> </body> </html> <!-- --> <td\xa0colspan=\"2 ' </ <div> </div>".split(" "))


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(st.lists(PIECES | st.text(max_size=5)))
def test_whatever_is_written_every_element_is_closed_in_turn(pieces):
  open_tags = []
  events = table_events("<html><body><table>" + "".join(pieces))
  for i, (kind, tag, _) in enumerate(events):
    if kind == "open":
      open_tags.append(tag)
    elif kind == "close":
      assert open_tags.pop() == tag
      assert open_tags or i == len(events) - 1
  assert events and not open_tags


def test_long_broken_markup_is_quick():
  for piece in ("<td ", "<td a=\"", "<b>", "<!--", "<", "</", "<td a='x' ", "&", "= "):
    began = time.process_time()
    table_events("<html><body><table><tr>" + piece * 20_000)
    assert time.process_time() - began < 5, piece  # it takes 0.03 s; quadratic would be minutes
