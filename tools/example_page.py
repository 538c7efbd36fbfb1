"""A page of examples: pictures with boxes and masks over them, texts, and the findings on each.

One self-contained HTML file from tools/pages/examples.html: all text is escaped, runs in its own
direction, and long words break.
"""
import dataclasses
import pathlib
import re

import numpy as np
from markupsafe import Markup, escape
from PIL import Image
from pycocotools import mask as coco_mask

from evaluators.report.page import data_uri, write_page
from tools.overlay import COLOURS

TEMPLATE = pathlib.Path(__file__).parent / "pages" / "examples.html"
LEVELS = ("error", "warning", "note")
CODES = re.compile(r"(?:&lt;(?:loc|seg)[0-9]+&gt;\s*)+")  # in small print, or they drown the words
SMALL, MANY = 160, 4  # side in pixels where a card has more pictures than so many
TINY = 64  # pixels; up to here a picture is exact, and drawn as large squares
LETTER = 7.2  # pixels that a letter of a label takes
NAMED = 8  # objects of a picture up to which each has its label beside it; above, it is a tooltip


@dataclasses.dataclass
class Picture:
  image: np.ndarray  # uint8 [H, W, 3]
  annotations: list = dataclasses.field(default_factory=list)  # of Annotation, in 0..1
  note: str = ""  # below it


@dataclasses.dataclass
class Card:
  title: str
  pictures: list = dataclasses.field(default_factory=list)
  texts: list = dataclasses.field(default_factory=list)  # of (name, str or Markup)
  findings: list = dataclasses.field(default_factory=list)  # of (level, kind, text)


def write_examples(path, title, subtitle, cards, summary=(), kinds=None, side=SMALL, legend=""):
  """Writes the page, replacing an older one in one step; returns its path.

  summary: [(level, text)] above the cards. kinds: {kind: heading} for the choice of a finding.
  side: pixels of the longer side of a picture, above which it is shrunk. legend: Markup at the top.
  """
  found = {kind for card in cards for _, kind, _ in card.findings}
  return write_page(
      path, TEMPLATE, title=title, subtitle=subtitle, summary=summary, legend=legend,
      wide=side > 200, kinds={k: heading for k, heading in (kinds or {}).items() if k in found},
      cards=[_card(card, side) for card in cards])


def _card(card, side):
  """The variables of the template's card."""
  levels = {level for level, _, _ in card.findings}
  side = side if len(card.pictures) <= MANY else min(side, SMALL)
  return {"title": card.title, "findings": card.findings,
          "level": next((level for level in LEVELS if level in levels), ""),
          "kinds": " ".join(dict.fromkeys(kind for _, kind, _ in card.findings)),
          "pictures": [_picture(p, side) for p in card.pictures],
          "texts": [(name, _text(value)) for name, value in card.texts]}


def _text(value):
  if isinstance(value, Markup):
    return value
  return Markup(CODES.sub(r"<code>\g<0></code>", str(escape(value)))) if value.strip() else None


def _picture(picture, side):
  uri, width, height = embed(picture.image, side)
  inks = {}  # one for each label, as far as there are
  for a in picture.annotations:
    inks.setdefault(a.label, COLOURS[len(inks) % len(COLOURS)])
  tiny = max(width, height) <= TINY  # drawn as large squares
  grown = max(1, side // max(width, height)) if tiny else 1
  named = len(picture.annotations) <= NAMED
  return {"uri": uri, "width": width, "height": height, "tiny": tiny, "grown": grown,
          "note": picture.note, "alt": ": ".join(filter(None, [picture.note or "picture", ", ".join(
              a.label for a in picture.annotations[:NAMED] if a.label)])),
          "shapes": [_shape(a, inks[a.label], width, height, named, grown)
                     for a in picture.annotations]}


def _shape(annotation, ink, width, height, named, grown):
  """An annotation in pixels of the shrunk picture: its mask, its box, and its label beside it."""
  mask, label, box, name, rings = annotation.mask, annotation.label, None, None, ()
  if len(annotation.box):
    y0, x0, y1, x1 = (float(v) * s for v, s in zip(annotation.box, (height, width) * 2))
    (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
    box = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
    name = _name(label, x0, x1, y0, width, grown) if label and named else None
  if mask and not isinstance(mask, dict):
    rings = [" ".join(f"{x * width:.1f},{y * height:.1f}" for x, y in zip(ring[::2], ring[1::2]))
             for ring in mask]
  return {"ink": ink, "label": label, "box": box, "name": name, "rings": rings,
          "stain": _stain(mask, ink, width, height) if isinstance(mask, dict) else None}


def _name(label, x0, x1, y, width, grown):
  """The label at a box's upper corner, cut to the room that the picture has for it."""
  letters = lambda room: int(room * grown / LETTER)
  left = letters(width - x0) >= min(len(label), letters(x1))  # starts at the left corner
  most = max(letters(width - x0 if left else x1), 2)
  return {"text": label if len(label) <= most else label[:most - 1] + "…",
          "anchor": "start" if left else "end",
          "x": x0 + 2 / grown if left else x1 - 2 / grown,
          "y": y, "dy": -.3 if y * grown > 14 else 1}  # inside of the box where no room is above it


def _stain(code, ink, width, height):
  """The data URI of a run-length code as a translucent picture; None if it is malformed."""
  try:
    counts = code["counts"]
    if isinstance(counts, list):
      code = coco_mask.frPyObjects(code, *code["size"])
    elif isinstance(counts, str):
      code = {**code, "counts": counts.encode()}
    mask = coco_mask.decode(code)
  except (KeyError, TypeError, ValueError):
    return None
  alpha = Image.fromarray(mask * np.uint8(110)).resize((width, height), Image.Resampling.NEAREST)
  stain = Image.new("RGBA", alpha.size, ink)
  stain.putalpha(alpha)
  return data_uri(stain, "PNG")


def embed(image, side):
  """(data URI, width, height) of uint8 [H, W, 3], shrunk to `side` pixels; tiny ones stay exact."""
  picture = Image.fromarray(image)
  exact = max(picture.size) <= TINY
  picture.thumbnail((side, side))
  return data_uri(picture, "PNG" if exact else "JPEG", quality=80), *picture.size
