"""The result of every reader: images with annotated objects, in pixels or in fractions."""
import dataclasses
import json
import pathlib
import xml.parsers.expat
from xml.etree import ElementTree

import numpy as np

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
LISTED = 20  # of the files that an error names


@dataclasses.dataclass
class Annotation:
  """One object of an image; any part may be missing."""
  label: str = ""
  box: tuple = ()  # ymin, xmin, ymax, xmax
  mask: object = None  # [[x, y, x, y, ...], ...], or COCO's {"size": [h, w], "counts"} in pixels
  crowd: bool = False  # a region of several objects


@dataclasses.dataclass
class AnnotatedImage:
  path: pathlib.Path  # of the image
  size: tuple | None  # (height, width) that its coordinates are pixels of; None: they are in 0..1
  annotations: list
  source: str  # what the annotation was read from, for messages


def box_of(rings):
  """The box around polygons [[x, y, x, y, ...], ...]."""
  points = np.concatenate([np.asarray(r, float).reshape(-1, 2) for r in rings])
  (x0, y0), (x1, y1) = points.min(0).tolist(), points.max(0).tolist()
  return y0, x0, y1, x1


def box_of_xywh(values):
  """x, y, width, height -> ymin, xmin, ymax, xmax."""
  x, y, w, h = values
  return y, x, y + h, x + w


def images_below(folder):
  """The images of a folder and of those below it, in order; raises FileNotFoundError."""
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise FileNotFoundError(f"There is no folder {folder}.")
  return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)


def image_of(stem):
  """The image file of a path without its suffix; None if there is none."""
  for suffix in SUFFIXES:
    for spelled in (suffix, suffix.upper()):
      if (path := stem.with_name(stem.name + spelled)).is_file():
        return path
  return None


def read_json(path):
  """The object of a JSON file; raises FileNotFoundError, ValueError."""
  try:
    found = json.loads(pathlib.Path(path).read_bytes())
  except OSError as e:
    raise FileNotFoundError(f"Cannot read {path}: {e.strerror}.") from e
  except (ValueError, RecursionError) as e:
    raise ValueError(f"{path} is not JSON: {e}.") from e
  if not isinstance(found, dict):
    raise ValueError(f"{path} is a JSON {type(found).__name__}, not an object.")
  return found


def read_xml(path):
  """The root element of an XML file; one that declares a document type or an entity is refused.

  An entity can name another file, or grow without end. Raises FileNotFoundError, ValueError.
  """
  def refuse(*_):
    raise ValueError(f"{path} declares a document type or an entity, which annotations have no "
                     "need of: refused.")
  scan = xml.parsers.expat.ParserCreate()
  scan.StartDoctypeDeclHandler = scan.EntityDeclHandler = refuse
  try:
    data = pathlib.Path(path).read_bytes()
    scan.Parse(data, True)
    return ElementTree.fromstring(data)
  except OSError as e:
    raise FileNotFoundError(f"Cannot read {path}: {e.strerror}.") from e
  except (xml.parsers.expat.ExpatError, ElementTree.ParseError) as e:
    raise ValueError(f"{path} is not XML: {e}.") from e


def field(record, key, where, kind=object):
  """record[key]; ValueError says where it is missing or of another kind."""
  if not isinstance(record, dict) or key not in record:
    raise ValueError(f"{where}: there is no {key!r} in {str(record)[:80]}.")
  if not isinstance(record[key], kind) or isinstance(record[key], bool):
    raise ValueError(f"{where}: {key!r} is {str(record[key])[:80]!r}, not of type {kind.__name__}.")
  return record[key]


def numbers(values, where, count=None):
  """Finite floats of strings or numbers; ValueError says where they are not."""
  try:
    found = [float(v) for v in values]
  except (TypeError, ValueError):
    found = [float("nan")]
  if not np.isfinite(found).all() or count not in (None, len(found)):
    many = f"{count} " if count else ""
    raise ValueError(f"{where}: expected {many}numbers, got {str(values)[:80]}.")
  return found


def listed(names, what):
  """"images are missing (3): a, b, c.": at most LISTED of them by name."""
  names = list(map(str, names))
  more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
  return f"{what} ({len(names):,}): {', '.join(names[:LISTED])}{more}."
