"""Pictures with objects -> lines of a JSONL: checked, clipped to the image, with prompt and answer.

  {"image": "images/a.jpg",
   "objects": {"bbox": [[ymin, xmin, ymax, xmax], ...] in 0..1, "label": ["cat", ...],
               "mask": [[[x, y, x, y, ...], ...] or {"size", "counts"}, ...] in pixels, as COCO's},
   "prefix": "detect cat ; dog", "suffix": "<loc0102>... cat ; <loc0000>... dog"}

So a line trains as it is, or by the ops detect(...) and segment(...) after `flatten`.
"""
import collections
import dataclasses

import numpy as np
from PIL import Image

from pp.decode import FORMATS
from pp.locations import PIECE, format_objects
from pp.names import check_names
from tools.importers import records

PROMPTS = ("per_image", "all_classes", "per_class")
ORDERS = ("raster", "given")
ORIENTATION = 0x112  # EXIF: how a viewer turns the image
TURNED = (5, 6, 7, 8)  # by a quarter: height and width change places


@dataclasses.dataclass
class Options:
  """Which objects to write, and how; see the arguments of tools/import_boxes.py."""
  prompt: str = "per_image"
  order: str = "raster"
  classes: tuple = ()
  min_area: float = 0.
  skip_crowd: bool = False


@dataclasses.dataclass
class ImportResult:
  """Lines and what there is to say about them."""
  lines: list  # of (image name, dict)
  objects: collections.Counter  # {class: objects}
  images: collections.Counter  # {class: images}
  counts: collections.Counter  # {what was done: how often}
  warnings: list


def check_labels(classes):
  """Raises ValueError for names of classes that an answer cannot hold."""
  odd = [c for c in classes if ";" in c or "<loc" in c or PIECE.search(c) or not c.strip()]
  if odd:
    raise ValueError(
        records.listed(map(repr, odd), "Classes have names that no answer can hold")
        + " They are empty or have ';' or '<loc' in them, which separate objects: rename them.")


def header(path):
  """((height, width), EXIF orientation) of an image file; an OSError or ValueError as a value."""
  try:
    with Image.open(path, formats=FORMATS) as image:
      return (image.height, image.width), image.getexif().get(ORIENTATION, 1)
  except Exception as e:  # Pillow's readers raise many kinds: OSError, SyntaxError, struct.error
    return (e if isinstance(e, FileNotFoundError) else ValueError(str(e) or type(e).__name__)), 1


def check_images(pictures, headers):
  """[warning]; raises for images that are missing, broken or of another size than annotated."""
  missing = [p.path for p, (size, _) in zip(pictures, headers) if isinstance(size, OSError)]
  if missing:
    raise FileNotFoundError(records.listed(missing, "Images are missing"))
  broken = [f"{p.path} ({size})" for p, (size, _) in zip(pictures, headers)
            if isinstance(size, ValueError)]
  if broken:
    raise ValueError(records.listed(broken, "Images cannot be read"))
  other = [_mismatch(p, *h) for p, h in zip(pictures, headers) if p.size not in (None, h[0])]
  if other:
    raise ValueError(records.listed(other, "Images have another size than their annotations say"))
  turned = [p.path for p, (_, orientation) in zip(pictures, headers) if orientation != 1]
  if not turned:
    return []
  return [records.listed(turned, "images have an EXIF orientation") + " Viewers turn them, "
          "training does not: the boxes must be of the image as it is stored. If they were drawn "
          "on the turned one, save the images upright, without EXIF."]


def _mismatch(picture, size, orientation):
  text = "{}x{}".format(*size[::-1]) + " and not {}x{}".format(*picture.size[::-1])
  if orientation in TURNED and picture.size == size[::-1]:
    text += (f" as its EXIF orientation {orientation} would turn it, which training does not do: "
             "save it upright, without EXIF")
  return f"{picture.path} is {text} ({picture.source})"


def make(pictures, headers, classes, name_of, options, codes=None):
  """ImportResult of pictures whose images have these headers.

  classes: of all pictures, in their order. name_of: path of an image -> how a line names it.
  codes: of codes.py, for the task segment; None: the task is detect.
  Raises ValueError, FileNotFoundError for what cannot be used.
  """
  result = ImportResult([], collections.Counter(), collections.Counter(), collections.Counter(),
              check_images(pictures, headers))
  if options.classes:
    check_names(options.classes, classes, "The data set")
    classes = [c for c in classes if c in options.classes]
  check_labels(classes)
  for picture, (size, _) in zip(pictures, headers):
    annotations = _kept(picture, size, classes, options, result.counts)
    if options.order == "raster":
      annotations.sort(key=lambda a: a.box[:2])
    result.objects.update(a.label for a in annotations)
    result.images.update({a.label for a in annotations})
    segments = codes(annotations, size) if codes and annotations else None
    written = 0
    for asked in _asked(annotations, classes, options.prompt):
      chosen = [i for i, a in enumerate(annotations) if a.label in asked]
      result.lines.append((picture.path, {
          "image": name_of(picture.path), **_objects([annotations[i] for i in chosen]),
          **_texts("segment" if codes else "detect", asked, [annotations[i] for i in chosen],
                   segments and [segments[i] for i in chosen])}))
      written += 1
    if not written:
      result.counts["images without objects, for which there is nothing to ask, left out"] += 1
  return result


def _kept(picture, size, classes, options, counts):
  """The Annotations of a picture that are written, their boxes in 0..1 and inside of the image."""
  height, width = size
  unit = np.ones(4) if picture.size is None else np.array([height, width, height, width], float)
  kept = []
  for a in picture.annotations:
    if a.label not in classes:
      continue
    if a.crowd and options.skip_crowd:
      counts["crowds left out"] += 1
      continue
    box = np.asarray(a.box, float) / unit
    inside = np.clip(box, 0, 1)
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
      counts["boxes dropped that are empty or outside of the image"] += 1
      continue
    area = (inside[2] - inside[0]) * height * (inside[3] - inside[1]) * width
    if area < options.min_area:
      counts[f"boxes of less than {options.min_area:g} pixels left out"] += 1
      continue
    # A tenth of a pixel beyond the edge is rounding, not a mistake.
    if np.abs((inside - box) * [height, width, height, width]).max() > 0.1:
      counts["boxes clipped to the image"] += 1
    mask = a.mask
    if isinstance(mask, list):  # polygons are written in pixels, inside of the image
      sides = np.array([width, height], float)
      grow = sides if picture.size is None else 1
      mask = [np.round(np.clip(np.reshape(r, (-1, 2)) * grow, 0, sides), 2).ravel().tolist()
              for r in mask]
    kept.append(records.Annotation(a.label, tuple(np.round(inside, 6).tolist()), mask))
  return kept


def _asked(annotations, classes, prompt):
  """The labels that each line of a picture asks for."""
  present = list(dict.fromkeys(a.label for a in annotations))
  if prompt == "per_class":
    return [[label] for label in present]
  asked = classes if prompt == "all_classes" else present
  return [list(asked)] if asked else []


def _objects(annotations):
  objects = {"bbox": [list(a.box) for a in annotations], "label": [a.label for a in annotations]}
  if annotations and all(a.mask for a in annotations):
    objects["mask"] = [a.mask for a in annotations]
  return {"objects": objects}


def _texts(task, asked, annotations, segments):
  return {"prefix": f"{task} {' ; '.join(asked)}",
          "suffix": format_objects([a.box for a in annotations], [a.label for a in annotations],
                                   segments)}
