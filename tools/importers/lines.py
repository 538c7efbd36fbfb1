"""Pictures with objects -> lines of a JSONL: checked, clipped to the image, with prompt and answer.

  {"image": "images/a.jpg",
   "objects": {"bbox": [[ymin, xmin, ymax, xmax], ...] in 0..1, "label": ["cat", ...],
               "mask": [[[x, y, x, y, ...], ...] or {"size", "counts"}, ...] in pixels, as COCO's},
   "prefix": "detect cat ; dog", "suffix": "<loc0102>... cat ; <loc0000>... dog"}

So a line trains as it is, or by the ops detect(...) and segment(...) after `flatten`. Coordinates
are of the picture turned upright as its EXIF says, as decode(exif=True) of forkme does.
"""
import collections
import dataclasses

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from big_vlm import files
from pp.decode import FORMATS, UPRIGHT, open_image, orientation
from pp.locations import PIECE, format_objects
from pp.names import check_names
from tools.importers import records

PROMPTS = ("per_image", "all_classes", "per_class")
ORDERS = ("raster", "given")
FRAMES = ("upright", "stored")
TURNED = (5, 6, 7, 8)  # EXIF orientations by a quarter: height and width change places
# EXIF orientation: x, y in 0..1 of the stored picture -> those of the upright one.
POINTS = {1: lambda x, y: (x, y), 2: lambda x, y: (1 - x, y), 3: lambda x, y: (1 - x, 1 - y),
          4: lambda x, y: (x, 1 - y), 5: lambda x, y: (y, x), 6: lambda x, y: (1 - y, x),
          7: lambda x, y: (1 - y, 1 - x), 8: lambda x, y: (y, 1 - x)}


@dataclasses.dataclass
class Options:
  """Which objects to write, and how; see the arguments of tools/import_boxes.py."""
  prompt: str = "per_image"
  order: str = "raster"
  classes: tuple = ()
  min_area: float = 0.
  skip_crowd: bool = False
  frame: str | None = None  # of FRAMES, in which the boxes of turned pictures were drawn


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
  """((height, width) as it is stored, EXIF orientation) of an image file; an OSError or ValueError
  in the place of the first."""
  try:
    with files.open_regular(path) as file:
      try:
        image = Image.open(file, formats=FORMATS)
      except ValueError:  # Pillow refuses large texts in a PNG, which decode_image leaves out
        file.seek(0)
        image = open_image(file.readall())
      return (image.height, image.width), orientation(image)
  except Exception as e:  # Pillow's readers raise many kinds: OSError, SyntaxError, struct.error
    return (e if isinstance(e, FileNotFoundError) else ValueError(str(e) or type(e).__name__)), 1


def check_images(pictures, headers, frame=None):
  """["upright" or "stored"] in which each picture was annotated, where it has objects.

  Of a picture that EXIF turns, the size that its annotations state tells it, or its reader, or
  `frame`. Raises for images that are missing, broken, there twice, of another size than annotated,
  or of which it cannot be told.
  """
  missing = [p.path for p, (size, _) in zip(pictures, headers) if isinstance(size, OSError)]
  if missing:
    raise FileNotFoundError(records.listed(missing, "Images are missing"))
  broken = [f"{p.path} ({size})" for p, (size, _) in zip(pictures, headers)
            if isinstance(size, ValueError)]
  if broken:
    raise ValueError(records.listed(broken, "Images cannot be read"))
  seen, frames, other, unknown = {}, [], [], []
  for p, (size, turn) in zip(pictures, headers):
    records.once(p.path, seen, p.source)
    sizes = dict(upright=size[::-1] if turn in TURNED else size, stored=size)
    fits = [f for f in FRAMES if not p.size or p.size == sizes[f]]
    if not fits:
      other.append(f"{p.path} is {size[1]}x{size[0]} and not {p.size[1]}x{p.size[0]} ({p.source})")
    if len(fits) == 1:  # the size tells
      frames.append(frame or fits[0])
    else:
      frames.append(frame or p.frame or "upright")
      if turn != 1 and p.annotations and not (frame or p.frame):
        unknown.append(p.path)
  if other:
    raise ValueError(records.listed(other, "Images have another size than their annotations say"))
  if unknown:
    raise ValueError(
        records.listed(unknown, "Images have an EXIF orientation, and nothing says in which frame "
                       "their objects were drawn") + " Give --frame upright if the tool showed "
        "them as viewers do (CVAT, Label Studio and new versions of most tools), --frame stored "
        "if it left them on their side.")
  return frames


def _check_pixels(pictures):
  """Raises ValueError where boxes that should be in pixels are all within the first one."""
  corners = [(max(a.box), p) for p in pictures if p.size is not None for a in p.annotations]
  if corners and 0 < max(corner for corner, _ in corners) <= 1:
    raise ValueError(f"No box in {corners[0][1].source} or any other file leaves the first pixel of"
                     " its image: these are fractions of the sides, and the format has pixels. "
                     "Multiply them by the width and the height.")


def upright(annotation, size, turn):
  """An Annotation of a stored picture of this (height, width) as one of the upright picture.

  The box and the polygons are in 0..1, codes of the stored size.
  """
  y0, x0, y1, x1 = annotation.box
  corners = [POINTS[turn](x0, y0), POINTS[turn](x1, y1)]
  mask = annotation.mask
  if isinstance(mask, list):
    mask = [np.ravel([POINTS[turn](x, y) for x, y in np.reshape(ring, (-1, 2))]).tolist()
            for ring in mask]
  elif mask:
    pixels = coco_mask.decode({**mask, "counts": mask["counts"].encode()})
    code = coco_mask.encode(np.asfortranarray(UPRIGHT[turn](pixels)))
    mask = {"size": list(map(int, code["size"])), "counts": code["counts"].decode()}
  return dataclasses.replace(annotation, box=records.box_of([corners]), mask=mask)


def make(pictures, headers, classes, name_of, options, codes=None):
  """ImportResult of pictures whose images have these headers.

  classes: of all pictures, in their order. name_of: path of an image -> how a line names it.
  codes: of codes.py, for the task segment; None: the task is detect.
  Raises ValueError, FileNotFoundError for what cannot be used.
  """
  result = ImportResult([], collections.Counter(), collections.Counter(), collections.Counter(), [])
  frames = check_images(pictures, headers, options.frame)
  _check_pixels(pictures)
  if options.classes:
    check_names(options.classes, classes, "The data set")
    classes = [c for c in classes if c in options.classes]
  check_labels(classes)
  for picture, (stored, turn), frame in zip(pictures, headers, frames):
    size = stored[::-1] if turn in TURNED else stored
    if turn != 1:
      result.counts[f"images that EXIF turns, annotated {frame}; lines are of upright ones"] += 1
    annotations = _kept(picture, stored, size, turn if frame == "stored" else 1, classes, options,
                        result.counts)
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
  if empty := [c for c in classes if not result.objects[c]]:
    result.warnings.append(records.listed(empty, "classes have no objects"))
  return result


def _kept(picture, stored, size, turn, classes, options, counts):
  """The Annotations of a picture that are written, their boxes in 0..1 and inside of the upright
  image of (height, width) `size`, from which `turn` leads to what they were drawn on."""
  height, width = size
  sides = np.array([1, 1] if picture.size is None else stored if turn != 1 else size, float)
  kept, seen = [], set()
  for a in picture.annotations:
    if a.label not in classes:
      continue
    if a.crowd and options.skip_crowd:
      counts["crowds left out"] += 1
      continue
    mask = a.mask
    if isinstance(mask, list):
      mask = [(np.reshape(r, (-1, 2)) / sides[::-1]).ravel() for r in mask]
    a = dataclasses.replace(a, box=(np.asarray(a.box, float) / np.tile(sides, 2)).tolist(),
                            mask=mask)
    a = upright(a, stored, turn) if turn != 1 else a
    box = np.asarray(a.box)
    inside = np.clip(box, 0, 1)
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
      counts["boxes dropped that are empty or outside of the image"] += 1
      continue
    area = (inside[2] - inside[0]) * height * (inside[3] - inside[1]) * width
    if area < options.min_area:
      counts[f"boxes of less than {options.min_area:g} pixels left out"] += 1
      continue
    # A tenth of a pixel beyond the edge is rounding, not a mistake.
    clipped = np.abs((inside - box) * [height, width, height, width]).max() > 0.1
    mask = a.mask
    if isinstance(mask, list):  # polygons are written in pixels, inside of the image
      mask = [np.round(np.clip(np.reshape(r, (-1, 2)), 0, 1) * [width, height], 2).ravel().tolist()
              for r in mask]
    found = records.Annotation(a.label, tuple(np.round(inside, 6).tolist()), mask)
    if (key := repr(found)) in seen:
      counts["objects left out that are there twice, with the same class and box"] += 1
      continue
    seen.add(key)
    if clipped:
      counts["boxes clipped to the image"] += 1
    kept.append(found)
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
