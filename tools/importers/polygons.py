"""labelme: a JSON for each image, {"imagePath", "imageHeight", "imageWidth", "shapes": [...]}.

A shape is {"label", "points": [[x, y], ...] in pixels, "shape_type", "group_id"}. Polygons keep
their outline; of rectangles and circles the box is taken; points and lines enclose nothing and are
left out. Polygons with the same label and group_id are parts of one object.
"""
import math
import pathlib

from tools.importers import records

FLAT = ("point", "line", "linestrip", "points")


def read(folder, images=None):
  """(pictures, classes) of the JSON files of a folder.

  images: the folder of the images, by default where imagePath says, or beside the JSON.
  """
  folder = pathlib.Path(folder)
  paths = sorted(folder.rglob("*.json")) if folder.is_dir() else []
  if not paths:
    raise FileNotFoundError(f"There are no JSON files of labelme in {folder}.")
  pictures = [_picture(path, images) for path in paths]
  return pictures, sorted({a.label for p in pictures for a in p.annotations})


def _picture(path, images):
  found = records.read_json(path)
  shapes = records.field(found, "shapes", path, list)
  name = records.field(found, "imagePath", path, str).replace("\\", "/")
  where = pathlib.Path(images) if images else path.parent
  image = where / (pathlib.PurePath(name).name if images else name)
  if not image.is_file():
    image = records.image_of(where / path.stem) or image
  size = tuple(int(v) for v in records.numbers(
      [found.get("imageHeight"), found.get("imageWidth")], f"{path}, imageHeight and imageWidth"))
  annotations, groups = [], {}
  for n, shape in enumerate(shapes):
    annotation = _annotation(shape, f"{path}, shape {n}")
    if not annotation:
      continue
    group = annotation.label, str(shape.get("group_id"))
    if annotation.mask and shape.get("group_id") is not None:
      if group in groups:
        whole = groups[group]
        whole.mask += annotation.mask
        whole.box = records.box_of(whole.mask)
        continue
      groups[group] = annotation
    annotations.append(annotation)
  return records.AnnotatedImage(image, size, annotations, str(path))


def _annotation(shape, where):
  """The Annotation of a shape, None if it encloses nothing."""
  points = records.field(shape, "points", where, list)
  kind, label = shape.get("shape_type") or "polygon", str(shape.get("label") or "").strip()
  if kind in FLAT:
    return None
  if not label:
    raise ValueError(f"{where} has no label.")
  points = [records.numbers(p, where, 2) for p in points]
  flat = [v for p in points for v in p]
  if kind == "circle" and len(points) == 2:
    (x, y), edge = points
    r = math.dist((x, y), edge)
    return records.Annotation(label, (y - r, x - r, y + r, x + r))
  if kind == "rectangle" and len(points) >= 2:
    return records.Annotation(label, records.box_of([flat]))
  if kind == "polygon" and len(points) >= 3:
    return records.Annotation(label, records.box_of([flat]), [flat])
  raise ValueError(f"{where} is a {kind!r} of {len(points)} points, which is not known here: draw "
                   "polygons, rectangles or circles.")
