"""Writes boxes as PaliGemma's location tokens and parses them from answers.

A box is (ymin, xmin, ymax, xmax), each in 0..1 of the image's height or width. A coordinate x is
written as <loc0000>..<loc1023>, by its bin round(1023 x), half to even. It is read back as
bin / 1023, so that a round trip is off by half a bin at most. An answer with two objects is

  <loc0102><loc0204><loc0511><loc1023> cat ; <loc0000><loc0000><loc1023><loc1023> dog

A segmentation has the 16 codes <seg000>..<seg127> of a mask after the four locations.
"""

import re
from typing import NamedTuple

import numpy as np

BINS = 1024
SEGS = 128
LOC4 = "(?:<loc[0-9]{4}>){4}"
SEG16 = "(?:<seg[0-9]{3}>){16}"
OBJECT = re.compile(rf"\s*({LOC4})\s*({SEG16})?(?!\s*<(?:loc|seg)[0-9])(.*)", re.DOTALL)
CODE = re.compile("<(?:loc|seg)([0-9]+)>")
PIECE = re.compile("<(?:loc[0-9]{4}|seg[0-9]{3})>")


class Object(NamedTuple):
  """One object of an answer."""
  box: tuple  # four floats in 0..1: ymin, xmin, ymax, xmax
  label: str  # "" if there is none
  seg: tuple | None  # 16 codes in 0..127, or None without a mask


def box_to_loc(box):
  """Writes a box (ymin, xmin, ymax, xmax) as four "<loc....>"; clips it to 0..1 first.

  Raises ValueError unless it is four finite numbers.
  """
  box = np.asarray(box, np.float64)
  if box.shape != (4,) or not np.isfinite(box).all():
    raise ValueError(f"a box is four finite numbers ymin, xmin, ymax, xmax; got {box.tolist()}.")
  bins = np.round(np.clip(box, 0, 1) * (BINS - 1)).astype(int)
  return "".join(f"<loc{b:04d}>" for b in bins)


def parse_objects(text):
  """Returns the Objects of an answer in its order; skips malformed parts and never raises."""
  objects = []
  for part in text.split(";"):
    match = OBJECT.fullmatch(part)
    if not match or PIECE.search(match[3]):
      continue
    locs, seg = _codes(match[1]), _codes(match[2]) if match[2] else None
    if max(locs) < BINS and (seg is None or max(seg) < SEGS):
      objects.append(Object(tuple(c / (BINS - 1) for c in locs), match[3].strip(), seg))
  return objects


def format_objects(boxes, labels, segs=None):
  """Writes objects as "<loc....>x4<seg...>x16 label ; ..."; no objects give "".

  Args:
    boxes: float [N,4].
    labels: N strings, without ";" and location tokens.
    segs: N times 16 codes in 0..127; None for boxes alone.

  Raises:
    ValueError: the numbers of boxes, labels and masks differ, or a label is not allowed.
  """
  if not len(boxes) == len(labels) == len(boxes if segs is None else segs):
    raise ValueError(f"{len(boxes)} boxes need as many labels, got {len(labels)}"
                     f"{'' if segs is None else f', and masks, got {len(segs)}'}.")
  for label in labels:
    if ";" in label or PIECE.search(label):
      raise ValueError(f"the label {label!r} holds ';' or a location, which separate objects.")
  codes = [""] * len(boxes) if segs is None else map(seg_codes, segs)
  return " ; ".join(f"{box_to_loc(b)}{c} {n}".strip() for b, c, n in zip(boxes, codes, labels))


def seg_codes(codes):
  """Writes 16 ints in 0..127 as sixteen "<seg...>"; ValueError for other codes."""
  if len(codes) != 16 or min(codes) < 0 or max(codes) >= SEGS:
    raise ValueError(f"a mask is 16 codes in 0..{SEGS - 1}, got {list(codes)}.")
  return "".join(f"<seg{c:03d}>" for c in codes)


def _codes(text):
  return tuple(int(c) for c in CODE.findall(text))
