"""A page of examples: pictures with boxes and masks over them, texts, and what is wrong with each.

One self-contained HTML file: pictures are data URIs, a content policy forbids it to fetch anything,
and all text is escaped. Text runs in its own direction, and long words break.
"""
import base64
import dataclasses
import html
import io
import os
import pathlib
import re

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from tools.overlay import COLOURS

CODES = re.compile(r"(?:&lt;(?:loc|seg)[0-9]+&gt;\s*)+")  # in small print, or they drown the words
SMALL, MANY = 160, 4  # side in pixels where a card has more pictures than so many
TINY = 64  # pixels; up to here a picture is exact, and drawn as large squares
LETTER = 7.2  # pixels that a letter of a label takes
NAMED = 8  # objects of a picture up to which each has its label beside it; above, it is a tooltip


class Html(str):
  """Text that is HTML already."""


@dataclasses.dataclass
class Thing:
  """One object over a picture, in 0..1 of its height and width; any part may be missing."""
  label: str = ""
  box: tuple = ()  # ymin, xmin, ymax, xmax
  mask: object = None  # [[x, y, x, y, ...], ...] or COCO's {"size", "counts"}


@dataclasses.dataclass
class Picture:
  image: np.ndarray  # uint8 [H, W, 3]
  things: list = dataclasses.field(default_factory=list)
  note: str = ""  # below it


@dataclasses.dataclass
class Card:
  title: str
  pictures: list = dataclasses.field(default_factory=list)
  texts: list = dataclasses.field(default_factory=list)  # of (name, str or Html)
  problems: list = dataclasses.field(default_factory=list)  # of (level, kind, text)


def write(path, title, subtitle, cards, summary=(), kinds=None, side=SMALL, legend="", css=""):
  """Writes the page, replacing an older one in one step; returns its path.

  summary: [(level, text)] above the cards. kinds: {kind: heading} for the choice of a problem.
  side: pixels of the longer side of a picture, above which it is shrunk. legend: Html at the top;
  css: for it and for texts that are Html.
  """
  body = "".join(_card(card, side) for card in cards)
  found = {kind for card in cards for _, kind, _ in card.problems}
  options = "".join(f'<option value="{escape(kind)}">{escape(heading)}</option>'
                    for kind, heading in (kinds or {}).items() if kind in found)
  if options:
    options = ('<select name="kind" aria-label="Problem"><option value="">with and without problems'
               f'</option><option value="*">with a problem</option>{options}</select>')
  page = _PAGE.format(
      title=escape(title), subtitle=escape(subtitle), css=_CSS + css, script=_SCRIPT,
      options=options, legend=legend, wide=" wide" if side > 200 else "", cards=body,
      summary="".join(f'<li class="{escape(lv)}">{escape(text)}</li>' for lv, text in summary))
  return _replace(pathlib.Path(path), page.encode("utf-8", "replace"))


def escape(text):
  return html.escape(str(text), quote=True)


def _replace(path, data):
  temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_bytes(data)
    os.replace(temporary, path)
  except OSError as e:
    raise OSError(f"Cannot write the page {path}: {e.strerror}.") from e
  return path


def _card(card, side):
  level = next((lv for lv in ("error", "warning", "note")
                if any(lv == p[0] for p in card.problems)), "")
  problems = "".join(f'<li class="{escape(lv)}" dir="auto">{escape(text)}</li>'
                     for lv, _, text in card.problems)
  texts = "".join(f"<dt>{escape(name)}</dt><dd dir=\"auto\">{_text(value)}</dd>"
                  for name, value in card.texts)
  pictures = "".join(_picture(p, side if len(card.pictures) <= MANY else min(side, SMALL))
                     for p in card.pictures)
  kinds = " ".join(dict.fromkeys(kind for _, kind, _ in card.problems))
  return (f'<article class="card {level}" data-kinds="{escape(kinds)}">'
          f"<h3>{escape(card.title)}</h3>"
          + (f'<div class="pictures">{pictures}</div>' if pictures else "")
          + f'<div class="words"><ul class="problems">{problems}</ul><dl>{texts}</dl></div>'
          "</article>\n")


def _text(value):
  if isinstance(value, Html):
    return value
  return CODES.sub(r"<code>\g<0></code>", escape(value)) if value.strip() else "<em>empty</em>"


def _picture(picture, side):
  uri, width, height = embed(picture.image, side)
  inks = {}  # one for each label, as far as there are
  for t in picture.things:
    inks.setdefault(t.label, COLOURS[len(inks) % len(COLOURS)])
  tiny = max(width, height) <= TINY  # drawn as large squares
  grown = max(1, side // max(width, height)) if tiny else 1
  overlay = "".join(_thing(t, inks[t.label], width, height, len(picture.things) <= NAMED, grown)
                    for t in picture.things)
  return (f'<figure><div class="picture" style="width:{width * grown}px">'
          f'<img{" class=crisp" * tiny} src="{uri}" width="{width}" height="{height}" alt="" '
          f'loading="lazy"><svg viewBox="0 0 {width} {height}" style="--unit:{1 / grown:.4f}px">'
          f"{overlay}</svg></div>"
          f"{f'<figcaption>{escape(picture.note)}</figcaption>' if picture.note else ''}</figure>")


def _thing(thing, ink, width, height, named, grown):
  """SVG of an object: its mask, its box, and its label beside it or as a tooltip."""
  parts = []
  if isinstance(thing.mask, dict):
    parts.append(_stain(thing.mask, ink, width, height))
  elif thing.mask:
    for ring in thing.mask:
      points = " ".join(f"{x * width:.1f},{y * height:.1f}" for x, y in zip(ring[::2], ring[1::2]))
      parts.append(f'<polygon points="{points}" style="stroke:{ink};fill:{ink}"/>')
  if len(thing.box):
    y0, x0, y1, x1 = (float(v) * side for v, side in zip(thing.box, (height, width) * 2))
    (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
    parts.append(f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}" '
                 f'style="stroke:{ink}"/>')
    if thing.label and named:
      parts.append(_name(thing.label, ink, x0, x1, y0, width, grown))
  tip = f"<title>{escape(thing.label)}</title>" if thing.label else ""
  return f"<g>{tip}{''.join(parts)}</g>"


def _name(label, ink, x0, x1, y, width, grown):
  """The label at a box's upper corner, cut to the room that the picture has for it."""
  letters = lambda room: int(room * grown / LETTER)
  left = letters(width - x0) >= min(len(label), letters(x1))  # starts at the left corner
  most = max(letters(width - x0 if left else x1), 2)
  word = label if len(label) <= most else label[:most - 1] + "…"
  at = f'x="{x0 + 2 / grown:.1f}"' if left else f'x="{x1 - 2 / grown:.1f}" text-anchor="end"'
  drop = -.3 if y * grown > 14 else 1  # inside of the box where there is no room above it
  return f'<text {at} y="{y:.1f}" dy="{drop:.1f}em" style="fill:{ink}">{escape(word)}</text>'


def _stain(code, ink, width, height):
  """A run-length code as a translucent picture over the whole; nothing if it is malformed."""
  try:
    counts = code["counts"]
    if isinstance(counts, list):
      code = coco_mask.frPyObjects(code, *code["size"])
    elif isinstance(counts, str):
      code = {**code, "counts": counts.encode()}
    mask = coco_mask.decode(code)
  except (KeyError, TypeError, ValueError):
    return ""
  alpha = Image.fromarray(mask * np.uint8(110)).resize((width, height), Image.Resampling.NEAREST)
  stain = Image.new("RGBA", alpha.size, ink)
  stain.putalpha(alpha)
  buffer = io.BytesIO()
  stain.save(buffer, "PNG")
  return (f'<image href="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" '
          f'width="{width}" height="{height}"/>')


def embed(image, side):
  """(data URI, width, height) of uint8 [H, W, 3], shrunk to `side` pixels; tiny ones stay exact."""
  picture, buffer = Image.fromarray(image), io.BytesIO()
  exact = max(picture.size) <= TINY
  picture.thumbnail((side, side))
  picture.save(buffer, "PNG" if exact else "JPEG", quality=80)
  data = base64.b64encode(buffer.getvalue()).decode("ascii")
  return f"data:image/{'png' if exact else 'jpeg'};base64,{data}", *picture.size


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
<header class="top"><h1>{title}</h1><p>{subtitle}</p><ul>{summary}</ul>{legend}</header>
<form id="filter"><input type="search" name="words" placeholder="filter by any text" \
aria-label="Filter">{options}<output id="count"></output></form>
<main class="grid{wide}">
{cards}</main>
<script>{script}</script>
</body>
</html>
"""

_SCRIPT = """
const form = document.getElementById("filter");
const cards = [...document.querySelectorAll(".card")];
const texts = cards.map(card => card.textContent.toLowerCase());
function show() {
  const words = form.words.value.toLowerCase(), kind = form.kind ? form.kind.value : "";
  let n = 0;
  cards.forEach((card, i) => {
    const kinds = card.dataset.kinds.split(" ");
    const fits = !kind || (kind === "*" ? kinds[0] !== "" : kinds.includes(kind));
    card.hidden = !(fits && texts[i].includes(words));
    n += !card.hidden;
  });
  document.getElementById("count").textContent = n + " of " + cards.length;
}
form.addEventListener("input", show);
form.addEventListener("submit", event => event.preventDefault());
show();
"""

_CSS = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --error: #b42318;
  --warning: #b35900; --note: #2f5fb3; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f7f9; color: var(--ink);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1, h3, p, ul, dl, dd, figure { margin: 0; padding: 0; }
header.top { background: #fff; border-bottom: 1px solid var(--line); padding: 20px 24px 16px; }
h1 { font-size: 22px; line-height: 1.25; overflow-wrap: anywhere; }
header.top p { color: var(--soft); margin-top: 4px; overflow-wrap: anywhere; }
header.top ul { list-style: none; display: flex; flex-wrap: wrap; gap: 6px 10px; margin-top: 10px; }
header.top ul:empty { display: none; }
header.top li { border: 1px solid var(--line); border-left: 4px solid #aab3bd; border-radius: 6px;
  padding: 3px 9px; font-size: 13px; overflow-wrap: anywhere; }
header.top li.error { border-left-color: var(--error); }
header.top li.warning { border-left-color: var(--warning); }
header.top li.note { border-left-color: var(--note); }
form { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; padding: 12px 24px;
  position: sticky; top: 0; z-index: 1; background: #f6f7f9; }
input, select { font: inherit; color: inherit; padding: 5px 8px; border: 1px solid #aab3bd;
  border-radius: 6px; background: #fff; max-width: 100%; }
input { width: 260px; }
output { color: var(--soft); font-variant-numeric: tabular-nums; }
.grid { display: grid; gap: 12px; padding: 0 24px 32px; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(360px, 100%), 1fr)); }
.grid.wide { grid-template-columns: minmax(0, 1fr); }
.card { background: #fff; border: 1px solid var(--line); border-top: 3px solid #c4ccd4;
  border-radius: 8px; padding: 8px 12px 10px; display: flex; flex-wrap: wrap; gap: 6px 12px;
  min-width: 0; content-visibility: auto; contain-intrinsic-size: auto 200px; }
.card[hidden] { display: none; }
.card.error { border-top-color: var(--error); }
.card.warning { border-top-color: var(--warning); }
.card.note { border-top-color: var(--note); }
h3 { flex: 1 0 100%; font-size: 12px; font-weight: 600; color: var(--soft);
  overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: 6px; align-items: flex-start; max-width: 100%; }
.picture { position: relative; max-width: 100%; background: #eceff3; }
.picture img { display: block; width: 100%; height: auto; }
.picture img.crisp { image-rendering: pixelated; }
g { filter: drop-shadow(0 0 calc(.8 * var(--unit)) #fff); }
.picture svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: hidden; }
figcaption { font-size: 11.5px; color: var(--soft); }
rect, polygon { vector-effect: non-scaling-stroke; stroke-width: 2px; }
rect { fill: none; }
polygon { fill-opacity: .35; stroke-width: 1px; }
svg text { font: 650 calc(12 * var(--unit)) system-ui, sans-serif; stroke: #fff;
  stroke-width: calc(3 * var(--unit)); stroke-linejoin: round; paint-order: stroke; }
.words { flex: 1 1 150px; min-width: 0; }
.problems { list-style: none; max-height: 15em; overflow-y: auto; }
.problems li { font-size: 13px; overflow-wrap: anywhere; margin-bottom: 3px; }
code { font: 11px/1.4 ui-monospace, Menlo, Consolas, monospace; color: var(--soft); }
.problems .error { color: var(--error); }
.problems .warning { color: var(--warning); }
.problems .note { color: var(--note); }
dt { color: var(--soft); font-size: 11.5px; }
dd { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 9em; overflow-y: auto;
  margin-bottom: 4px; }
dd em { color: var(--soft); }
.wide dd { max-height: none; }
@media (max-width: 560px) { header.top, form, .grid { padding-left: 12px; padding-right: 12px; } }
@media print { form { display: none; } .card { break-inside: avoid; content-visibility: visible; } }
"""
