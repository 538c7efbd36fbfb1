"""Checks of the text and the boxes of one line of a JSONL, without its files.

Each check yields (kind, reason); a kind is a row of KINDS. Only form is looked at: that four
locations make a box, that an answer names what its prompt asks for, that fields are in 0..1.
"""
import json
import math
import re

import numpy as np

from big_vlm.data.jsonl import FILES
from pp.locations import BINS, PIECE, SEGS
from pp.names import near_miss
from pp.printable import printable
from pp.text_layout import PLACEHOLDER, prompt_text
from pp.tokenizer_fast import ALWAYS_CONTROL

# kind: (level, heading). An error makes training fail, or trains a wrong answer.
KINDS = {
    "line": ("error", "lines that are not an example"),
    "file": ("error", "files that are missing or refused"),
    "image": ("error", "images and videos that cannot be decoded"),
    "pp": ("error", "lines that the config's pp cannot use"),
    "text": ("error", "prefix or suffix that is missing, empty or no string"),
    "locations": ("error", "locations and mask codes that spell no object"),
    "fields": ("error", "boxes, labels or masks that cannot be right"),
    "tokenizer": ("error", "pieces that are not one token"),
    "cut": ("error", "answers that are cut off: the model would never learn to stop"),
    "leak": ("error", "images that are in --check_overlap too"),
    "control": ("warning", "control pieces and <image> in texts, where they are letters: bos, eos "
                           "and images have places of their own"),
    "ends": ("warning", "spaces or newlines at the ends of texts, which are tokens of their own"),
    "repeated": ("warning", "lines that are there twice"),
    "name": ("warning", "fields that are nearly called as one that is missing"),
    "task": ("warning", "prefixes that begin with an unknown word"),
    "newline": ("note", "prefixes that end in a newline: it is the separator, none is added to it"),
    "turned": ("note", "images with an EXIF orientation: forkme, generate and predict turn them "
                       "upright, the op decode does by decode(exif=True) alone"),
    "transparent": ("note", "images with transparent pixels, whose alpha is dropped, not blended: "
                            "the colour beneath it shows, mostly black"),
    "copies": ("note", "images that are there under several names"),
    "contradiction": ("note", "same image and prefix, another suffix"),
}
# First words of the prompts that the released models were trained on.
TASKS = ("answer", "cap", "caption", "describe", "detect", "ocr", "question", "segment")
CONTROL = re.compile("|".join(map(re.escape, sorted(ALWAYS_CONTROL))))
OBJECTS = ("detect", "segment")  # tasks whose answers are objects
EVERYTHING = "all classes"  # "detect all classes" asks for whatever is there
PIECE_LIKE = re.compile(r"<\s*(?:loc|seg)[\s_:.-]*[0-9][0-9.]*\s*>?", re.IGNORECASE)
RUN = re.compile(r"(?:<loc[0-9]{4}>\s*)+|(?:<seg[0-9]{3}>\s*)+")
BOXES = ("bbox", "boxes", "box")  # keys of a line that may hold boxes beside objects/bbox


def problems(example):
  """Yields (kind, reason) of all problems of a line's object."""
  yield from _strings(example)
  yield from _misspelled(example)
  prefix, suffix = (example[k] if isinstance(example.get(k), str) else ""
                    for k in ("prefix", "suffix"))
  for name, text in (("prefix", prefix), ("suffix", suffix)):
    for part in text.split(";") if "<" in text else ():
      for reason in [_malformed(part)] if _malformed(part) else _runs(part):
        yield "locations", f"{name}: {reason}"
  yield from _layout(prefix, suffix)
  for reason in _answer(prefix, suffix):
    yield "locations", f"suffix: {reason}"
  for reason in _fields(example):
    yield "fields", reason


def task(prefix):
  """The first word of a prefix."""
  return prefix.split(maxsplit=1)[0] if prefix.strip() else ""


def unknown_task(prefix):
  """None for a known first word, else a warning."""
  word = task(prefix)
  if not word or word in TASKS:
    return None
  return f"{word[:40]!r} begins no prompt of the released models.{near_miss(word.lower(), TASKS)}"


def _strings(example):
  written = "objects" in example  # the ops detect and segment write the texts of these
  for key in ("prefix", "suffix"):
    value = example.get(key)
    if key not in example:
      if not written:
        yield "text", f"{key!r} is missing; there are {', '.join(map(repr, example)) or 'no keys'}"
    elif not isinstance(value, str):
      yield "text", (f"{key!r} is {_short(value)}, not a string" + (
          ": one answer to a line" if isinstance(value, list) else ""))
    elif not value.strip():
      prefix = example.get("prefix")
      nothing = key == "suffix" and isinstance(prefix, str) and task(prefix) in OBJECTS
      if not nothing:  # "detect cat" where there is none
        yield "text", f"{key!r} is empty"


def _misspelled(example):
  """Yields fields that are nearly called as one that is missing: "img", "prefx"."""
  missing = {"prefix", "suffix", "image", "images", "video"} - example.keys()
  if len(missing & set(FILES)) < len(FILES):
    missing -= set(FILES)  # one of them is there
  for key in example:
    if key not in FILES and (near := near_miss(key, missing)):
      yield "name", f"the field {printable(key, 40)!r}.{near}"


def _layout(prefix, suffix):
  """Yields what trainers of other projects want in a text, and the layout of ours does not."""
  shown = prompt_text(prefix)[:-1]  # without its newline and the <image> that it begins with
  if prefix.endswith("\n"):
    yield "newline", f"prefix: {prefix[-20:]!r}"
  for name, text in (("prefix", shown), ("suffix", suffix)):
    if found := CONTROL.findall(text) or [PLACEHOLDER] * (PLACEHOLDER in text):
      yield "control", f"{name}: {found[0]!r} in {text[:40]!r}"
    if text.strip() and text != text.strip():
      yield "ends", f"{name}: {text[:20]!r}{f'...{text[-20:]!r}' if len(text) > 20 else ''}"


def _malformed(text):
  """The problem in the spelling of single pieces, or None."""
  odd = [p for p in PIECE_LIKE.findall(text) if not is_piece(p)]
  if not odd:
    return None
  more = f" and {len(odd) - 1} more are" if len(odd) > 1 else " is"
  return f"{odd[0]!r}{more} none of <loc0000> to <loc{BINS - 1}>, <seg000> to <seg{SEGS - 1}>"


def is_piece(text):
  """Whether a text is one of <loc0000>..<loc1023>, <seg000>..<seg127>."""
  return bool(PIECE.fullmatch(text)) and int(text[4:-1]) < (BINS if text[1] == "l" else SEGS)


def _runs(text):
  """Yields the problems of runs of well spelled pieces: a box is four, a mask 16 after them."""
  for run in RUN.finditer(text):
    pieces = PIECE.findall(run[0])
    after = text[run.end():run.end() + 20].strip()
    where = f" before {after!r}" if after else " at the end"
    if pieces[0].startswith("<loc"):
      if len(pieces) != 4:
        yield f"{len(pieces)} locations{where}: a box is four, ymin xmin ymax xmax"
        continue
      box = [int(p[4:-1]) for p in pieces]
      if box[0] > box[2] or box[1] > box[3]:
        axis = "ymin > ymax" if box[0] > box[2] else "xmin > xmax"
        yield f"the box {''.join(pieces)} has {axis}: the order is ymin xmin ymax xmax"
    elif len(pieces) != 16:
      yield f"{len(pieces)} mask codes{where}: a mask is 16"
    elif not re.search(r"<loc[0-9]{4}>\s*$", text[:run.start()]):
      yield f"mask codes without the four locations of their box, at {run[0][:8]}"


def _answer(prefix, suffix):
  """Yields the problems of the objects in an answer to "detect cat ; dog" or "segment cat"."""
  asked_task = task(prefix)
  if asked_task not in OBJECTS or not suffix.strip():
    return
  asked = [a.strip() for a in prefix.split(maxsplit=1)[1].split(";")] if " " in prefix else []
  for part in suffix.split(";"):
    if _malformed(part):
      continue
    boxes = [m for m in RUN.finditer(part) if m[0].startswith("<loc")]
    label = PIECE_LIKE.sub("", part).strip()
    if not boxes:
      yield f"no box before {label[:40]!r}" if label else "an empty part beside ';'"
    elif len(boxes) > 1:
      yield f"{len(boxes)} boxes without ' ; ' between them, before {label[:40]!r}"
    elif part[:boxes[0].start()].strip():
      yield f"{part[:boxes[0].start()].strip()[:40]!r} stands before its box, not after it"
    elif not label:
      if asked_task == "detect":
        yield f"the box {boxes[0][0].strip()} has no label"
    elif asked and asked != [EVERYTHING] and label not in asked:
      yield (f"the label {label[:40]!r} is not asked for in the prefix, which has "
             f"{' ; '.join(asked)[:80]!r}.{near_miss(label, asked)}")


def _fields(example):
  """Yields the problems of objects/{bbox, label, mask} and of other fields that are boxes."""
  objects = example.get("objects")
  if isinstance(objects, dict):
    yield from _objects(objects)
  elif objects is not None:
    yield ('objects is a dict of lists, {"bbox": [[ymin, xmin, ymax, xmax], ...], "label": '
           f'["cat", ...]}}, not {_short(objects)}')
  for key in BOXES:
    value = example.get(key)
    if isinstance(value, list) and value:
      yield from _boxes(key, value if isinstance(value[0], list) else [value])


def _objects(objects):
  counts = {k: len(v) for k, v in objects.items() if isinstance(v, list)}
  if len(set(counts.values())) > 1:
    yield "objects has " + ", ".join(f"{n} of {k!r}" for k, n in counts.items())
  if isinstance(objects.get("bbox"), list):
    yield from _boxes("objects/bbox", objects["bbox"])
  labels = objects.get("label")
  for i, label in enumerate(labels if isinstance(labels, list) else ()):
    if isinstance(label, str) and (";" in label or PIECE_LIKE.search(label)):
      yield f"objects/label {i} is {label[:40]!r}: ';' and locations separate objects"


def _boxes(key, boxes):
  for i, box in enumerate(boxes):
    if not (isinstance(box, list) and len(box) == 4 and all(map(_number, box))):
      yield f"{key} {i} is {_short(box)}, not four numbers ymin, xmin, ymax, xmax"
    elif not 0 <= min(box) <= max(box) <= 1:
      yield (f"{key} {i} is {box}, not in 0..1: coordinates are fractions of the image's height "
             "and width")
    elif box[0] > box[2] or box[1] > box[3]:
      yield f"{key} {i} is {box}: the order is ymin, xmin, ymax, xmax"


def mask_problem(mask, size=None):
  """The problem of a mask, [[x, y, x, y, ...], ...] or {"size", "counts"} in pixels, or None.

  size: (height, width) of the image, where it is known.
  """
  if mask is None:
    return None
  if isinstance(mask, dict):
    if not {"size", "counts"} <= set(mask) or not isinstance(mask["size"], list):
      return "is not a run-length code {size, counts}"
    wrong = size and mask["size"] != list(size)
    return f"is of {mask['size']}, the image of {list(size)} rows and columns" if wrong else None
  if not isinstance(mask, list) or not mask:
    return f"is {_short(mask)}, not a list of polygons"
  for ring in mask:
    if not (isinstance(ring, list) and len(ring) >= 6 and len(ring) % 2 == 0
            and all(map(_number, ring))):
      return f"has the polygon {_short(ring)}, not [x, y, x, y, x, y, ...]"
    if max(ring) <= 1:
      return f"has the polygon {_short(ring)}: these are pixels, not fractions of the image"
    sides = (np.inf, np.inf) if size is None else (size[1], size[0])
    x, y = max(ring[::2]), max(ring[1::2])
    if min(ring) < -1 or x > sides[0] + 1 or y > sides[1] + 1:  # a pixel is rounding
      whose = "" if size is None else f" of {size[1]}x{size[0]}"
      return f"has the polygon {_short(ring)}, which leaves the image{whose}"
  return None


def mask_problems(example, size):
  """Yields the problems of objects/mask, given the image's (height, width) or None."""
  objects = example.get("objects")
  masks = objects.get("mask") if isinstance(objects, dict) else None
  for i, mask in enumerate(masks if isinstance(masks, list) else ()):
    if reason := mask_problem(mask, size):
      yield f"objects/mask {i} {reason}"


def _number(value):
  return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _short(value):
  text = json.dumps(value, ensure_ascii=False)
  return text if len(text) <= 60 else text[:57] + "..."
