"""COCO: a JSON of images, annotations and categories; boxes are x, y, width, height in pixels."""
import pathlib

from pycocotools import mask as coco_mask

from pp.decode import MAX_PIXELS
from tools.importers import records


def read(annotations, images):
  """(pictures, classes) of a COCO file and the folder of its images, in the file's order.

  Segmentations are polygons, or run-length codes (of crowds). Raises ValueError for an annotation
  that names no image or category, or has no box.
  """
  found = records.read_json(annotations)
  if missing := [k for k in ("images", "annotations", "categories") if k not in found]:
    raise ValueError(f"{annotations} is not a COCO file of objects: it lacks {', '.join(missing)}.")
  folder = pathlib.Path(images)
  need = lambda record, key, kind=object: records.field(record, key, annotations, kind)
  names = {need(c, "id", int): need(c, "name", str) for c in need(found, "categories", list)}
  pictures = {}
  for image in need(found, "images", list):
    size = need(image, "height", int), need(image, "width", int)
    path = folder / need(image, "file_name", str)
    pictures[need(image, "id", int)] = records.AnnotatedImage(path, size, [], str(annotations))
  for a in need(found, "annotations", list):
    where = f"{annotations}, annotation {need(a, 'id')}"
    for key, known in (("image_id", pictures), ("category_id", names)):
      if need(a, key, int) not in known:
        raise ValueError(f"{where} has the {key} {a[key]}, which the file does not list.")
    picture = pictures[a["image_id"]]
    picture.annotations.append(_annotation(a, names[a["category_id"]], picture.size, where))
  return list(pictures.values()), list(dict.fromkeys(names.values()))


def _annotation(a, label, size, where):
  mask = a.get("segmentation") or None
  if isinstance(mask, dict):
    mask = _code(mask, size, where)
  elif mask:
    if not isinstance(mask, list) or not all(isinstance(ring, list) for ring in mask):
      raise ValueError(f"{where}: the segmentation is not a list of polygons [x, y, x, y, ...].")
    mask = [records.numbers(ring, where) for ring in mask if len(ring) >= 6] or None
    if mask and any(len(ring) % 2 for ring in mask):
      raise ValueError(f"{where}: a polygon has an odd count of numbers, not pairs x, y.")
  if "bbox" in a:
    box = records.box_of_xywh(records.numbers(a["bbox"], where, 4))
  elif isinstance(mask, dict):
    box = records.box_of_xywh(coco_mask.toBbox({**mask, "counts": mask["counts"].encode()}))
  elif mask:
    box = records.box_of(mask)
  else:
    raise ValueError(f"{where} has neither a bbox nor a segmentation.")
  return records.Annotation(label, tuple(map(float, box)), mask, bool(a.get("iscrowd")))


def _code(code, size, where):
  """{"size", "counts": str} of a run-length code whose counts are a string or a list of runs."""
  counts = records.field(code, "counts", where)
  if list(records.field(code, "size", where, list)) != list(size):
    raise ValueError(f"{where}: the mask is of {code['size']}, its image of {list(size)} rows and "
                     "columns.")
  try:
    if size[0] * size[1] > MAX_PIXELS:
      raise ValueError(f"{size[1]}x{size[0]} are more than {MAX_PIXELS:,} pixels")
    if isinstance(counts, list):
      if sum(counts) != size[0] * size[1] or min(counts) < 0:
        raise ValueError("its runs do not add up to the image")
      counts = coco_mask.frPyObjects(code, *size)["counts"].decode()
    coco_mask.decode({"size": list(size), "counts": counts.encode()})
  except (AttributeError, TypeError, ValueError, OverflowError) as e:
    raise ValueError(f"{where}: the mask is not a run-length code: {e}.") from e
  return {"size": list(size), "counts": counts}
