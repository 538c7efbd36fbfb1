"""Makes tables.json: scores of PubTabNet's TEDS and table-transformer's GriTS.

  pip install apted==1.0.3 Distance==0.1.3 lxml==6.1.3 tqdm joblib pymupdf==2.0 numpy
  python evaluators/metrics/golden/make_tables.py PubTabNet/src table-transformer/src

From ibm-aur-nlp/PubTabNet 8ffde90 metric.py, parallel.py and sample_*.json are used, from
microsoft/table-transformer 16d124f grits.py. Newer PyMuPDF takes no numpy arrays for rectangles, so
they are handed over as tuples.

  {"teds": [[prediction, truth, TEDS, S-TEDS]], "grits": [[prediction, truth, [F, precision, recall,
   upper bound] of top, the same of con]]}
"""
import contextlib
import io
import json
import pathlib
import random
import sys

OUT = pathlib.Path(__file__).with_name("tables.json")
TEXTS = ["", "a", "Week 15", "0.17 ± 0.08", "0.80", "n (%)", "Total", "α-β", "<b>n</b> = 3",
         "x<sup>2</sup>", "早い", "5 &lt; 6", "R&amp;D", "a\u2028b", "12", "1<br/>2"]
NOISE = ["</td>", "<td>", "</tr>", "<tr>", "<b>", "</b>", "<thead>", "</tbody>", "<th>", "<p>",
         "</table>", "<table>", "x", " ", "<sup>", "<td colspan=2>", "<td rowspan='3'>", "&nbsp;",
         "<!-- c -->", "<td coords=\"1,2\">", "<span>", "</div>", "<foo>", "<br>", "</html>", "5<6"]
TEDS_RULES = [  # (prediction, truth): a cell in a cell and what follows it, <unk>, chains
    ("<tr><td>a<sup>b<td>c</sup>d", "<tr><td>a<sup>b"),
    ("<td>a<sup>b<td>c</td>dd</sup>e", "<td>ae"),
    ("<td>a<unk>b</unk>c", "<td>abc"), ("<td>a<unk>b</unk>", "<td>a<foo>b</foo>"),
    ("<table><i></tr><tfoot><a>", "<td></td><th></th><td></td><td></td>"),
    ("<td>a<b>b<td>c</b>d", "<td>a<td>bcd")]
GRITS_RULES = [  # alignments that tie, and texts that difflib likens otherwise the other way round
    (["b|c", "|b"], ["c|"]), (["c|"], ["b|c", "|b"]), (["a|b", "a|c"], ["b|a"]),
    (["b|a"], ["a|b", "a|c"]), (["a|c", "c|"], ["", "a"]), (["tide|diet"], ["diet|tide"]),
    (["diet"], ["tide"]), (["tide"], ["diet"])]


def main(pubtabnet, table_transformer):
  sys.path[:0] = [pubtabnet, table_transformer]
  import fitz
  import grits
  import metric

  class Rect(fitz.Rect):
    def __init__(self, *corners):
      super().__init__(*(tuple(map(float, c)) for c in corners))

    def intersect(self, other):
      return super().intersect(tuple(map(float, other)))

    def include_rect(self, other):
      return super().include_rect(tuple(map(float, other)))
  grits.Rect = Rect

  rng = random.Random(7)
  scorers = metric.TEDS(), metric.TEDS(structure_only=True)
  teds = []
  folder = pathlib.Path(pubtabnet)
  truths = json.loads((folder / "sample_gt.json").read_text())
  predictions = json.loads((folder / "sample_pred.json").read_text())
  pairs = [(predictions[name], row["html"]) for name, row in truths.items()
           if len(row["html"]) < 3000]
  rows = [row["html"] for row in truths.values() if len(row["html"]) < 1500]
  pairs += [(a[:rng.randint(20, len(a))], a) for a in rows]
  pairs += list(zip(rows, rows[1:]))
  pairs += [tuple(f"<html><body><table>{html}" for html in pair) for pair in TEDS_RULES]
  while len(pairs) < 160:
    truth = document(rng, table(rng))
    prediction = document(rng, table(rng) if rng.random() < .3 else changed(rng, truth))
    pairs.append((noisy(rng, prediction) if rng.random() < .6 else prediction, truth))
  for prediction, truth in pairs:
    teds.append([prediction, truth, *(s.evaluate(prediction, truth) for s in scorers)])
  pairs = [tuple("<table>" + "".join(
      f"<tr><td>{row.replace('|', '</td><td>')}</td></tr>" for row in rows) + "</table>"
      for rows in pair) for pair in GRITS_RULES]
  while len(pairs) < 100:
    truth = table(rng)
    pairs.append((table(rng) if rng.random() < .4 else changed(rng, truth), truth))
  results = []
  for prediction, truth in pairs:
    with contextlib.redirect_stdout(io.StringIO()):
      scores = grits.grits_from_html(truth, prediction)
    names = ("grits_{}", "grits_precision_{}", "grits_recall_{}", "grits_{}_upper_bound")
    results.append([prediction, truth, *([float(scores[n.format(kind)]) for n in names]
                                         for kind in ("top", "con"))])
  dump = {"teds": teds, "grits": results}
  OUT.write_text("{" + ",\n".join(
      f'"{key}":[\n' + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":"))
                                  for c in cases) + "]" for key, cases in dump.items()) + "}\n")


def table(rng):
  """A table without holes, with cells over several rows and columns."""
  rows, columns = rng.randint(1, 6), rng.randint(1, 5)
  taken = [[False] * columns for _ in range(rows)]
  lines = []
  for r in range(rows):
    line = ""
    for c in range(columns):
      if taken[r][c]:
        continue
      width = height = 1
      if rng.random() < .25:
        height, width = rng.randint(1, rows - r), rng.randint(1, columns - c)
        while any(taken[r][c:c + width]):
          width -= 1
      for i in range(r, r + height):
        taken[i][c:c + width] = [True] * width
      spans = (f' colspan="{width}"' if width > 1 else "") + (
          f' rowspan="{height}"' if height > 1 else "")
      tag = "td" if rng.random() < .9 else "th"
      line += f"<{tag}{spans}>{rng.choice(TEXTS)}</{tag}>"
    lines.append(f"<tr>{line}</tr>")
  if len(lines) > 1 and rng.random() < .6:
    lines[0] = f"<thead>{lines[0]}</thead>"
    lines[1] = f"<tbody>{lines[1]}"
    lines[-1] += "</tbody>"
  return f"<table>{''.join(lines)}</table>"


def document(rng, html):
  frame = rng.choice(["<html><body>{}</body></html>", "<html>{}</html>",
                      "<!DOCTYPE html>\n<html><head></head>\n<body>\n{}\n</body></html>"])
  return frame.format(html)


def changed(rng, html):
  """Contents exchanged, a row left out or doubled; still well-formed."""
  for _ in range(rng.randint(0, 3)):
    a, b = rng.sample([t for t in TEXTS if t], 2)
    html = html.replace(f">{a}<", f">{b}<")
  rows = html.split("<tr>")
  if len(rows) > 4 and "rowspan" not in html and rng.random() < .6:
    middle = rng.randrange(2, len(rows) - 1)
    rows[middle:middle + 1] = [rows[middle]] * rng.choice((0, 2))
  return "<tr>".join(rows)


def noisy(rng, html):
  """Cut off, or with tags put in or lost: what a model might write."""
  if rng.random() < .4:
    return html[:rng.randint(25, len(html))]
  for _ in range(rng.randint(1, 4)):
    at = rng.choice([i for i, c in enumerate(html) if c == ">" and i > 25] or [len(html) - 1]) + 1
    end = html.find(">", at) + 1 if rng.random() < .4 else at
    html = html[:at] + rng.choice(NOISE) * (end == at) + html[max(end, at):]
  return html


if __name__ == "__main__":
  main(*sys.argv[1:])
