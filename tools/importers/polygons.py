"""labelme: a JSON for each image, {"imagePath", "imageHeight", "imageWidth", "shapes": [...]}.

A shape is {"label", "points": [[x, y], ...] in pixels, "shape_type", "group_id"}. Polygons and
rotated rectangles keep their outline, masks their pixels; of rectangles and circles the box is
taken; points and lines enclose nothing and are left out. Polygons with the same label and group_id
are parts of one object. labelme shows pictures upright, as their EXIF says.
"""
import base64
import math
import pathlib

import numpy as np
from pycocotools import mask as coco_mask

from pp.decode import open_image
from tools.importers import records

FLAT = ("point", "line", "linestrip", "points")


def read(folder, images=None, encoding=None):
  """(pictures, classes) of the JSON files of a folder.

  images: the folder of the images, by default where imagePath says, or beside the JSON.
  """
  folder = pathlib.Path(folder)
  paths = sorted(folder.rglob("*.json")) if folder.is_dir() else []
  if not paths:
    raise FileNotFoundError(f"There are no JSON files of labelme in {folder}.")
  pictures = [_picture(path, folder, images, encoding) for path in paths]
  return pictures, sorted({a.label for p in pictures for a in p.annotations})


def _picture(path, folder, images, encoding):
  found = records.read_json(path, encoding, 16 * records.MOST_ONE)  # it may hold the image
  every = f"{path} (every JSON file of the folder should be labelme's)"
  shapes = records.field(found, "shapes", every, list)
  name = records.field(found, "imagePath", path, str).replace("\\", "/")
  where = pathlib.Path(images) if images else path.parent
  image = beside = records.image_of(where / path.stem)
  if images or not beside:
    below = pathlib.PurePath(name).name if images else (path.parent / name).relative_to(
        folder) if not name.startswith("/") else name
    image = records.inside(images or folder, str(below), f"{path}, imagePath (or give --images)")
    image = image if image.is_file() else beside or image
  size = records.image_size(found.get("imageHeight"), found.get("imageWidth"),
                            f"{path}, imageHeight and imageWidth")
  annotations, groups = [], {}
  for n, shape in enumerate(shapes):
    annotation = _annotation(shape, f"{path}, shape {n}", size)
    if not annotation:
      continue
    group = annotation.label, str(shape.get("group_id"))
    if isinstance(annotation.mask, list) and shape.get("group_id") is not None:
      if group in groups:
        whole = groups[group]
        whole.mask += annotation.mask
        whole.box = records.box_of(whole.mask)
        continue
      groups[group] = annotation
    annotations.append(annotation)
  return records.AnnotatedImage(image, size, annotations, str(path), "upright")


def _annotation(shape, where, size):
  """The Annotation of a shape, None if it encloses nothing."""
  points = records.field(shape, "points", where, list)
  kind = shape.get("shape_type") or "polygon"
  if kind in FLAT:
    return None
  label = shape.get("label")
  label = records.label_of(str(label) if type(label) is int else label, f"{where}, label")
  points = [records.numbers(p, where, 2) for p in points]
  flat = [v for p in points for v in p]
  if kind == "circle" and len(points) == 2:
    (x, y), edge = points
    r = math.dist((x, y), edge)
    return records.Annotation(label, (y - r, x - r, y + r, x + r))
  if kind == "rectangle" and len(points) >= 2:
    return records.Annotation(label, records.box_of([flat]))
  if kind == "mask" and len(points) == 2:
    return _mask(shape, label, points, where, size)
  if kind in ("polygon", "rotation", "oriented_rectangle") and len(points) >= 3:
    return records.Annotation(label, records.box_of([flat]), [flat])
  raise ValueError(f"{where} is a {kind!r} of {len(points)} points, which is not known here: draw "
                   "polygons, rectangles, circles or masks.")


def _mask(shape, label, points, where, size):
  """The Annotation of a PNG in base64 between two corners, which both belong to it."""
  try:
    data = base64.b64decode(records.field(shape, "mask", where, str), validate=True)
    with open_image(data, ("PNG",)) as image:
      if image.width > size[1] or image.height > size[0]:
        raise ValueError("it is larger than the image")
      part = np.asarray(image.convert("L")) > 0
  except Exception as e:  # Pillow's readers raise many kinds: OSError, SyntaxError, bombs
    raise ValueError(f"{where}: the mask is not a PNG in base64: {e}.") from e
  (x0, y0), (x1, y1) = [[round(v) for v in p] for p in points]
  height, width = part.shape
  if (height, width) != (y1 - y0 + 1, x1 - x0 + 1) or min(x0, y0) < 0 or (
      y1 >= size[0] or x1 >= size[1] or not part.any()):
    raise ValueError(f"{where}: the mask of {width}x{height} pixels is empty, or does not lie "
                     f"between its corners {points} in the image.")
  whole = np.zeros(size, np.uint8, order="F")
  whole[y0:y1 + 1, x0:x1 + 1] = part
  code = coco_mask.encode(whole)
  box = records.box_of_xywh(coco_mask.toBbox(code).tolist())
  code = {"size": list(size), "counts": code["counts"].decode()}
  return records.Annotation(label, box, code)
