"""The contact sheet of validate_jsonl: lines with a problem first, then a sample of the others."""
import collections
import itertools

import numpy as np

from pp.locations import parse_objects
from tools import example_page, jsonl_images
from tools.example_page import LEVELS, Card, Picture
from tools.importers.records import Annotation
from tools.jsonl_text import KINDS, mask_problem

MOST = 2000  # cards with a problem: a page of 20 MB
PICTURES = 4  # of a line


def write_sheet(found, path, sample=200, seed=0):
  """Writes the page of Findings; returns its path."""
  by_line = collections.defaultdict(list)
  for kind, some in found.problems.items():
    for index, text in some:
      by_line[index].append((KINDS[kind][0], kind, text))
  for some in by_line.values():
    some.sort(key=lambda p: LEVELS.index(p[0]))
  rank = lambda i: (LEVELS.index(by_line[i][0][0]), i)
  wrong = sorted((i for i in by_line if by_line[i][0][0] != "note"), key=rank)
  rest = sorted(set(range(found.count)) - set(wrong))
  some = np.sort(np.random.default_rng(seed).permutation(len(rest))[:sample])
  chosen = [*wrong[:MOST], *(rest[i] for i in some)]
  cards = jsonl_images.each(lambda i: card(found, i, by_line.get(i, [])), chosen, "contact sheet")
  left_out = f", {len(wrong) - MOST:,} more are left out" * (len(wrong) > MOST)
  summary = [(level, f"{heading}: {len(found.problems[kind]):,}")
             for kind, (level, heading) in KINDS.items() if found.problems.get(kind)]
  subtitle = (f"{len(wrong[:MOST]):,} lines with a problem{left_out}, then {len(some):,} of the "
              f"{len(rest):,} others (seed {seed})")
  return example_page.write_examples(path, "Contact sheet", subtitle, cards, summary,
                                     {kind: heading for kind, (_, heading) in KINDS.items()})


def card(found, index, problems):
  """The Card of a line; what cannot be read of it is left out."""
  title = found.data.where(index)
  try:
    example = found.data.line(index)
  except ValueError:
    return Card(title, findings=problems)
  pictures, more = [], 0
  for kind, name in jsonl_images.named(example):
    if len(pictures) >= PICTURES:
      more += 1
      continue
    try:
      images = jsonl_images.frames(
          kind, jsonl_images.read(kind, found.data.resolve(index, name)))
    except (ValueError, OSError):
      continue
    note = name if len(name) <= 40 else "…" + name[-39:]
    pictures += [Picture(image, annotations_of(example, image.shape[:2]), note * (i == 0))
                 for i, image in enumerate(images)]
  if more and pictures:
    pictures[-1].note += f" (and {more} more)"
  texts = [(key, str(example[key])[:2000]) for key in ("prefix", "suffix") if key in example]
  others = {k: v for k, v in example.items() if k not in ("prefix", "suffix", "objects")
            and k not in jsonl_images.jsonl.FILES}
  texts += [(key, str(value)[:200]) for key, value in list(others.items())[:6]]
  return Card(title, pictures, texts, problems)


def annotations_of(example, size):
  """The sound objects of a line: of its field "objects", or else of its suffix.

  size: (height, width) of the image that the masks are pixels of.
  """
  objects = example.get("objects")
  if isinstance(objects, dict) and isinstance(objects.get("bbox"), list):
    column = lambda key: objects[key] if isinstance(objects.get(key), list) else []
    rows = itertools.zip_longest(objects["bbox"], column("label"), column("mask"))
    return [Annotation("" if label is None else str(label), box if _sound(box) else (),
                       None if mask_problem(mask, size) else _in_fractions(mask, *size))
            for box, label, mask in rows]
  suffix = example.get("suffix")
  return [Annotation(o.label, o.box)
          for o in (parse_objects(suffix) if isinstance(suffix, str) else ())]


def _in_fractions(mask, height, width):
  if not isinstance(mask, list):
    return mask
  return [[v / (height if i % 2 else width) for i, v in enumerate(ring)] for ring in mask]


def _sound(box):
  return isinstance(box, list) and len(box) == 4 and all(
      isinstance(v, (int, float)) and 0 <= v <= 1 for v in box)
