"""The evaluation report: one HTML file that shows the numbers and the examples behind them.

Everything is inside the file (images as data URIs, a few lines of script for the filter), so
it opens from disk and can be mailed. A content policy forbids it to fetch anything, and all
text is escaped: a model may well write "<script>".
"""
import base64
import collections
import html
import io
import json
import math
import os
import pathlib
import re

import numpy as np
from PIL import Image

ROW_KEYS = ("task", "id", "image", "prompt", "prediction", "references", "correct")
FIGURE_KEYS = ("task", "metric", "value", "n")

_TINY = 128      # px; up to here pixels are drawn as crisp squares instead of a blur
_LONG = 60       # characters; a longer answer takes the width of the card
_LARGEST = 448   # px; larger images are shrunk: 1,000 originals would make a file of 100 MB
_CODES = re.compile(r"(?:&lt;(?:loc\d{4}|seg\d{3})&gt;)+")


def write_report(path, *, title, subtitle="", figures=(), rows=(), details=None):
  """Write the report, replacing an older one in one step.

  Args:
    path: the .html file; missing folders are made.
    title, subtitle: str.
    figures: list of {"task", "metric", "value": float, "n": int, optional "baseline": the same
      metric of the majority answer or None, "percent": True for a fraction to print in %}.
    rows: list of {"task", "id", "image", "prompt", "prediction", "references": [str],
      "correct": bool, optional "score": float or None, "pred_boxes" and "ref_boxes":
      [{"box": (ymin, xmin, ymax, xmax) in 0..1, "label", "score"}], "finish_reason"}.
      The image is a uint8 array [H, W, 1 or 3 or 4], the bytes of a PNG or JPEG, or None.
      Wrong rows are shown first, otherwise the order is kept.
    details: {name: value} for the block at the end: checkpoint, step, config, date.

  Returns:
    pathlib.Path of the file.

  Raises:
    ValueError: for a row or figure that lacks a key, and for an image or box that cannot be
      drawn, naming the row.
    OSError: where the file cannot be written, naming the folder. An older report stays.
  """
  for i, figure in enumerate(figures):
    _require(figure, FIGURE_KEYS, f"figures[{i}]")
  for i, row in enumerate(rows):
    _require(row, ROW_KEYS, f"rows[{i}]")
    if isinstance(row["references"], str):
      raise ValueError(f"rows[{i}] of the report has the string {row['references']!r} as its "
                       "references; give a list of strings.")
  cards = [(bool(row["correct"]), _card(row, i)) for i, row in enumerate(rows)]
  page = _PAGE.format(
      title=_escape(title), css=_CSS, script=_SCRIPT if cards else "",
      subtitle=f'<p class="subtitle">{_escape(subtitle)}</p>' if subtitle else "",
      figures="".join(map(_figure, figures)),
      gallery=_gallery(rows, cards) if cards else "",
      details=_details(details) if details else "")
  return _write(pathlib.Path(path), page.encode("utf-8", "replace"))  # lone surrogates -> "?"


def _write(path, data):
  temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_bytes(data)
    os.replace(temporary, path)
  except OSError as error:
    try:
      temporary.unlink(missing_ok=True)
    except OSError:
      pass  # the folder itself is what is broken; the message below says so
    raise OSError(error.errno, f"Cannot write the report into the folder {path.parent} "
                  f"({error.strerror}). Free some space or name a folder you may write to",
                  str(path)) from error
  return path


def _require(record, keys, where):
  if missing := [key for key in keys if key not in record]:
    raise ValueError(f"{where} of the report lacks {', '.join(missing)}; "
                     f"it has {', '.join(map(str, record))}.")


def _escape(value):
  return html.escape(str(value))


def _number(value, percent=False):
  if value is None or not math.isfinite(value):
    return "n/a"
  return f"{100 * value:.1f}\u2009%" if percent else f"{value:.3f}"


def _figure(figure):
  percent, value, baseline = figure.get("percent", False), figure["value"], figure.get("baseline")
  known = value is not None and math.isfinite(value)
  bar = note = ""
  if percent and known:  # other metrics have no natural full scale to draw against
    tick = ""
    if baseline is not None:
      tick = f'<i style="left:{100 * min(max(baseline, 0), 1):.1f}%"></i>'
    bar = f'<div class="bar"><b style="width:{100 * min(max(value, 0), 1):.1f}%"></b>{tick}</div>'
  if baseline is not None:
    note = f"majority answer {_number(baseline, percent)}"
    if percent and known:
      note += f" ({100 * (value - baseline):+.1f} points)"
  return (f'<li><h3>{_escape(figure["task"])}</h3><p class="metric">{_escape(figure["metric"])}'
          f'</p><p class="value">{_number(value, percent)}</p>{bar}'
          f'<p class="note">{note}</p><p class="note">{int(figure["n"]):,} examples</p></li>')


def _gallery(rows, cards):
  tasks = collections.Counter(str(row["task"]) for row in rows)
  options = "".join(f'<option value="{_escape(task)}">{_escape(task)} ({n:,})</option>'
                    for task, n in tasks.items())
  right = sum(correct for correct, _ in cards)
  legend = ""
  if any(row.get("pred_boxes") or row.get("ref_boxes") for row in rows):
    legend = ('<p class="legend"><span class="key pred"></span>predicted box'
              '<span class="key ref"></span>reference box</p>')
  ordered = "".join(card for _, card in sorted(cards, key=lambda pair: pair[0]))
  return _GALLERY.format(total=f"{len(cards):,}", right=f"{right:,}",
                         wrong=f"{len(cards) - right:,}", options=options, legend=legend,
                         cards=ordered)


def _card(row, i):
  correct = bool(row["correct"])
  verdict, mark = ("right", "\u2713") if correct else ("wrong", "\u2717")
  facts = []
  if (score := row.get("score")) is not None:
    facts.append(f"score {score:.2f}")
  if (reason := row.get("finish_reason")) and reason != "eos":
    facts.append(f"ended by: {_escape(reason)}")
  picture = _picture(row, f"rows[{i}] (id {row['id']!r})") if row["image"] is not None else ""
  texts = [_CODES.sub("", _escape(t)) for t in (row["prediction"], *row["references"])]
  wide = ' class="wide"' if max(map(len, texts)) > _LONG else ""
  return (
      f'<article class="card {verdict}" data-task="{_escape(row["task"])}" '
      f'data-verdict="{verdict}"><header><span class="badge">{mark} {verdict}</span>'
      f'<span class="task">{_escape(row["task"])}</span>'
      f'<span class="id">{_escape(row["id"])}</span></header>{picture}'
      f'<dl><div class="wide"><dt>Prompt</dt><dd>{_text(row["prompt"])}</dd></div>'
      f'<div{wide}><dt>Answer</dt><dd class="answer">{_text(row["prediction"])}</dd></div>'
      f'<div{wide}><dt>Reference</dt><dd>{_references(row["references"])}</dd></div></dl>'
      f'<footer>{", ".join(facts)}</footer></article>\n')


def _text(value):
  """Escaped text; runs of location and mask tokens in small print, as they drown the words."""
  if not str(value).strip():
    return "<em>empty</em>"
  return _CODES.sub(r"<code>\g<0></code>", _escape(value))


def _references(references):
  """Equal answers of several annotators on one line, with their number."""
  lines = [_text(text) + (f' <span class="times">\u00d7\u2009{n}</span>' if n > 1 else "")
           for text, n in collections.Counter(map(str, references)).most_common()]
  if not lines:
    return "<em>none</em>"
  return lines[0] if len(lines) == 1 else f"<ul><li>{'</li><li>'.join(lines)}</li></ul>"


def _picture(row, where):
  uri, width, height = _embed(row["image"], where)
  predicted, expected = row.get("pred_boxes") or [], row.get("ref_boxes") or []
  alt = f"Image of example {row['id']}"
  overlay = ""
  if predicted or expected:
    alt += f" with {len(predicted)} predicted and {len(expected)} reference boxes"
    # The longer side is 320 units whatever the image, so that letters have one size.
    view = 320 * width / max(width, height), 320 * height / max(width, height)
    overlay = (f'<svg viewBox="0 0 {view[0]:.1f} {view[1]:.1f}" aria-hidden="true">'
               + "".join(_box(box, view, "ref", where) for box in expected)
               + "".join(_box(box, view, "pred", where) for box in predicted) + "</svg>")
  tiny = ' class="tiny"' if max(width, height) <= _TINY else ""
  return (f'<div class="frame"><div class="picture" style="--ratio:{width / height:.4f}">'
          f'<img{tiny} src="{uri}" width="{width}" height="{height}" alt="{_escape(alt)}" '
          f'loading="lazy" decoding="async">{overlay}</div></div>')


def _box(box, view, kind, where):
  ymin, xmin, ymax, xmax = (float(v) for v in box["box"])
  if not all(map(math.isfinite, (ymin, xmin, ymax, xmax))):
    raise ValueError(f"{where}: the box {box['box']} is not finite, so it cannot be drawn.")
  x, y = xmin * view[0], ymin * view[1]
  shape = (f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" '
           f'width="{max(xmax - xmin, 0) * view[0]:.1f}" '
           f'height="{max(ymax - ymin, 0) * view[1]:.1f}"/>')
  label = str(box.get("label") or "")
  if kind == "ref" or not label:
    return shape
  if (score := box.get("score")) is not None:
    label += f" {score:.2f}"
  above = y - 5 if y > 18 else y + 15  # inside the box where there is no room over it
  place = f'x="{max(x, 0) + 3:.1f}"'
  if xmin > .6:  # written to the left, or the label would run out of the image
    place = f'x="{min(xmax * view[0], view[0]) - 3:.1f}" text-anchor="end"'
  return shape + f'<text {place} y="{above:.1f}">{_escape(label)}</text>'


def _embed(image, where):
  """(data URI, width, height) of an array or of encoded bytes, shrunk if it is large."""
  encoded = bytes(image) if isinstance(image, (bytes, bytearray, memoryview)) else None
  if encoded is not None:
    try:
      picture = Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG"))
      picture.load()
    except (OSError, SyntaxError, ValueError) as error:
      raise ValueError(f"{where}: the image bytes are no readable PNG or JPEG "
                       f"({error}; they begin with {encoded[:8]!r}).") from error
  else:
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3, 4):
      raise ValueError(f"{where}: an image is uint8 [H, W, 1 or 3 or 4] or PNG or JPEG bytes; "
                       f"this is {array.dtype} {list(array.shape)}.")
    if not array.size:
      raise ValueError(f"{where}: the image is empty, {list(array.shape)}.")
    picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
  kind = "jpeg" if picture.format == "JPEG" else "png"
  if encoded is None or max(picture.size) > _LARGEST:
    if max(picture.size) > _LARGEST:
      kind = "jpeg"
      picture = picture.convert("RGB")
      picture.thumbnail((_LARGEST, _LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 88} if kind == "jpeg" else {}))
    encoded = buffer.getvalue()
  data = base64.b64encode(encoded).decode("ascii")
  return f"data:image/{kind};base64,{data}", *picture.size


def _details(details):
  rows = []
  for name, value in details.items():
    text = (json.dumps(value, indent=2, default=str, ensure_ascii=False)
            if isinstance(value, (dict, list, tuple)) else str(value))
    rows.append(f"<dt>{_escape(name)}</dt><dd><pre>{_escape(text)}</pre></dd>")
  return ('<details><summary>How this was made</summary>'
          f'<dl class="details">{"".join(rows)}</dl></details>')


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<header class="top"><h1>{title}</h1>{subtitle}</header>
<main>
<ul class="figures">{figures}</ul>
{gallery}
{details}
</main>
<script>{script}</script>
</body>
</html>
"""

_GALLERY = """<section aria-labelledby="examples">
<div class="bar-top"><h2 id="examples">Examples</h2>
<p class="tally">{total} in all: <span class="bad">\u2717 {wrong} wrong</span>, \
<span class="good">\u2713 {right} right</span></p>{legend}
<form id="filter" hidden>
<label>Task <select name="task"><option value="">all tasks</option>{options}</select></label>
<label>Verdict <select name="verdict"><option value="">right and wrong</option>\
<option value="wrong">wrong only</option><option value="right">right only</option></select></label>
<output id="count"></output>
</form></div>
<div class="grid">
{cards}</div>
</section>
"""

_SCRIPT = """
const form = document.getElementById("filter");
const cards = [...document.querySelectorAll(".card")];
function show() {
  let n = 0;
  for (const card of cards) {
    const {task, verdict} = card.dataset;
    card.hidden = (form.task.value && form.task.value !== task)
        || (form.verdict.value && form.verdict.value !== verdict);
    n += !card.hidden;
  }
  document.getElementById("count").textContent = n + " of " + cards.length;
}
form.hidden = false;
form.addEventListener("change", show);
show();
"""

_CSS = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --good: #1a7f37;
  --bad: #b42318; --box: #f76707; --accent: #2f5fb3; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f7f9; color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1, h2, h3, p, ul, dl, dd { margin: 0; padding: 0; }
header.top { background: #fff; border-bottom: 1px solid var(--line); padding: 26px 0 22px; }
header.top > *, main { max-width: 1320px; margin: 0 auto; padding: 0 24px; }
h1 { font-size: 26px; line-height: 1.2; letter-spacing: -.01em; overflow-wrap: anywhere; }
.subtitle { color: var(--soft); margin-top: 6px !important; overflow-wrap: anywhere; }
.figures { list-style: none; display: grid; gap: 14px; margin: 22px 0 8px;
  grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); }
.figures li { background: #fff; border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px 12px; }
.figures h3 { font-size: 15px; overflow-wrap: anywhere; }
.metric, .note { color: var(--soft); font-size: 13px; }
.note:empty { display: none; }
.value { font-size: 30px; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }
.bar { position: relative; height: 8px; margin: 4px 0 8px; border-radius: 4px;
  background: #e6eaef; }
.bar b { position: absolute; inset: 0 auto 0 0; border-radius: 4px; background: var(--accent); }
.bar i { position: absolute; top: -3px; bottom: -3px; width: 2px; margin-left: -1px;
  background: var(--ink); }
.bar-top { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 22px; margin: 0 -24px 14px;
  padding: 12px 24px; position: sticky; top: 0; z-index: 1; background: #f6f7f9; }
h2 { font-size: 19px; }
.tally, .legend, form { font-size: 14px; }
.legend { display: flex; align-items: center; gap: 7px; color: var(--soft); }
.key { width: 20px; height: 13px; border: 2.5px solid var(--box); border-radius: 2px; }
.key.ref { border: 2.5px dashed var(--good); margin-left: 10px; }
form { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 14px; margin-left: auto; }
form[hidden], .card[hidden] { display: none; }
select { font: inherit; color: inherit; padding: 4px 6px; border: 1px solid #aab3bd;
  border-radius: 6px; background: #fff; max-width: 200px; }
output { color: var(--soft); font-variant-numeric: tabular-nums; min-width: 7ch; }
.grid { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); }
.card { background: #fff; border: 1px solid var(--line); border-top: 4px solid var(--good);
  border-radius: 8px; overflow: hidden; display: flex; flex-direction: column;
  content-visibility: auto;
  contain-intrinsic-size: auto 470px; }
.card.wrong { border-top: 4px solid var(--bad); }
.card header { display: flex; align-items: baseline; gap: 10px; padding: 9px 14px;
  font-size: 13px; }
.badge, .good { color: var(--good); font-weight: 650; white-space: nowrap; }
.wrong .badge, .bad { color: var(--bad); font-weight: 650; }
.task { font-weight: 600; }
.id { color: var(--soft); margin-left: auto; overflow-wrap: anywhere; text-align: right; }
.frame { background: #eceff3; padding: 8px; }
.picture { position: relative; margin: 0 auto; width: min(100%, calc(300px * var(--ratio))); }
.picture img { display: block; width: 100%; height: auto; }
.picture img.tiny { image-rendering: pixelated; }
.picture svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: hidden; }
rect { fill: none; stroke-width: 2.5; }
rect.pred { stroke: var(--box); }
rect.ref { stroke: #2da44e; stroke-dasharray: 7 4; }
svg text { font: 650 13px system-ui, sans-serif; fill: #a63703; stroke: #fff; stroke-width: 4px;
  stroke-linejoin: round; paint-order: stroke; }
.card dl { display: grid; grid-template-columns: 1fr 1fr; gap: 10px 14px; padding: 12px 14px 6px; }
.card .wide { grid-column: 1 / -1; }
dt { color: var(--soft); font-size: 12px; }
dd { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 12em; overflow-y: auto; }
dd ul { list-style: none; }
dd em, .times { color: var(--soft); }
.answer { font-weight: 650; }
.wrong .answer { color: var(--bad); }
.card footer { color: var(--soft); font-size: 12.5px; padding: 0 14px 10px; margin-top: auto; }
code { font: 11.5px/1.4 ui-monospace, Menlo, Consolas, monospace; color: var(--soft); }
.card footer:empty { padding: 0 0 4px; }
details { background: #fff; border: 1px solid var(--line); border-radius: 10px; margin: 26px 0;
  padding: 12px 16px; }
summary { cursor: pointer; font-weight: 600; }
.details { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 6px 20px;
  margin-top: 12px; }
.details dt { font-size: 14px; }
.details dd { max-height: none; }
pre { margin: 0; font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 560px) {
  header.top > *, main { padding: 0 14px; }
  .bar-top { position: static; margin: 0 -14px 10px; padding: 10px 14px; }
  form { margin-left: 0; }
  .figures { grid-template-columns: 1fr 1fr; gap: 10px; }
  .figures li { padding: 11px 12px; }
  .value { font-size: 24px; }
  .details { grid-template-columns: 1fr; gap: 2px; }
  .details dd { margin-bottom: 8px; }
}
@media print {
  body { background: #fff; font-size: 11px; }
  form { display: none !important; }
  .bar-top { position: static; }
  .grid { grid-template-columns: repeat(3, 1fr); }
  .card, .figures li { break-inside: avoid; content-visibility: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
