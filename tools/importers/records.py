"""The result of every reader: images with annotated objects, in pixels or in fractions."""
import codecs
import dataclasses
import json
import math
import pathlib
import re
import xml.parsers.expat
from xml.etree import ElementTree

import numpy as np

from big_vlm import files
from pp.foreign import unique_keys

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
LISTED = 5  # of the files that an error names
MOST_TEXT = 2**30  # bytes of an annotation file: COCO's own are half of it
MOST_ONE = 2**24  # of one that describes one image, or the classes
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32",
        b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
NO_TEXT = ("unicode_escape", "raw_unicode_escape", "idna", "punycode", "utf-7", "undefined")


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
  # (height, width) that its coordinates are pixels of; (): those of the image; None: they are 0..1
  size: tuple | None
  annotations: list
  source: str  # what the annotation was read from, for messages
  frame: str | None = None  # "upright" or "stored", where the reader knows in which one was drawn


def box_of(rings):
  """The box around polygons [[x, y, x, y, ...], ...]."""
  points = np.concatenate([np.asarray(r, float).reshape(-1, 2) for r in rings])
  (x0, y0), (x1, y1) = points.min(0).tolist(), points.max(0).tolist()
  return y0, x0, y1, x1


def box_of_xywh(values):
  """x, y, width, height -> ymin, xmin, ymax, xmax."""
  x, y, w, h = values
  return y, x, y + h, x + w


def turned(box, degrees):
  """(box, [its outline]) of a rectangle that CVAT turned clockwise around its centre.

  CVAT's COCO and VOC hold the rectangle before the turn, and the angle among its attributes.
  """
  y0, x0, y1, x1 = box
  c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
  corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
  centre = corners.mean(0)
  outline = [((corners - centre) @ [[c, s], [-s, c]] + centre).ravel().tolist()]
  return box_of(outline), outline


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


def read_text(path, encoding=None, most=MOST_ONE):
  """The text of a file in UTF-8, in what its first bytes mark, or in an encoding by name.

  Raises FileNotFoundError, and ValueError for a file that is larger than `most` bytes or of another
  encoding: a wrong guess would be a wrong class.
  """
  try:
    with files.open_regular(path) as file:
      data = file.read(most + 1)
  except OSError as e:
    raise FileNotFoundError(f"Cannot read {path}: {e.strerror}.") from e
  if len(data) > most:
    raise ValueError(f"{path} has more than {most:,} bytes, which no annotation file of its kind "
                     "needs.")
  marked = next((name for mark, name in BOMS.items() if data.startswith(mark)), None)
  try:
    name = codecs.lookup(marked or encoding or "utf-8").name
    if name in NO_TEXT:
      raise LookupError(f"{name} is not an encoding of files")
    text = data.decode("gb18030" if name in ("gb2312", "gbk") else name)  # a superset of both
  except (LookupError, UnicodeError) as e:
    at = f" (line {data[:e.start].count(10) + 1})" if isinstance(e, UnicodeDecodeError) else ""
    raise ValueError(f"{path}{at} is not text in {marked or encoding or 'UTF-8'}: give the "
                     "encoding that it was written in, e.g. --encoding latin-1, cp1252, gb18030, "
                     "cp950 or shift_jis.") from e
  if "\0" in text:
    raise ValueError(f"{path} has NUL characters: it is not text in {name}. Give the encoding that "
                     "it was written in, e.g. --encoding utf-16-le.")
  return text


def read_json(path, encoding=None, most=MOST_ONE):
  """The object of a JSON file; raises FileNotFoundError, ValueError."""
  text = read_text(path, encoding, most)
  try:
    found = json.loads(text, object_pairs_hook=unique_keys)
  except (ValueError, RecursionError) as e:
    raise ValueError(f"{path} is not JSON: {e}.") from e
  if not isinstance(found, dict):
    raise ValueError(f"{path} is a JSON {type(found).__name__}, not an object.")
  return found


def read_xml(path, encoding=None):
  """The root element of an XML file; one that declares a document type or an entity is refused.

  An entity can name another file, or grow without end. Raises FileNotFoundError, ValueError.
  """
  def refuse(*_):
    raise ValueError(f"{path} declares a document type or an entity, which annotations have no "
                     "need of: refused.")
  if encoding is None:
    head = read_text(path, "latin-1")[:200]
    encoding = (re.search(r"""^<\?xml[^>]*encoding=["']([\w.:-]+)["']""", head) or [None, None])[1]
  text = re.sub(r"^<\?xml[^>]*\?>", "", read_text(path, encoding).lstrip("\ufeff"))
  scan = xml.parsers.expat.ParserCreate("utf-8")
  scan.StartDoctypeDeclHandler = scan.EntityDeclHandler = refuse
  try:
    scan.Parse(text.encode(), True)
    return ElementTree.fromstring(text)
  except (xml.parsers.expat.ExpatError, ElementTree.ParseError, UnicodeError) as e:
    raise ValueError(f"{path} is not XML: {e}.") from e


def image_size(height, width, where):
  """(height, width) of numbers or their strings; ValueError unless both are whole and positive."""
  size = numbers([height, width], where, 2)
  if min(size) < 1 or any(v != int(v) for v in size):
    raise ValueError(f"{where}: the image's height and width are {height} and {width}.")
  return int(size[0]), int(size[1])


def label_of(name, where):
  """The name of a class as its file has it, without spaces at its ends, which no answer has.

  ValueError for anything but a string of visible characters.
  """
  label = name.strip() if isinstance(name, str) else ""
  if not label or not label.isprintable():
    raise ValueError(f"{where}: {str(name)[:80]!r} is not the name of a class.")
  return label


def inside(root, name, where):
  """files.inside for a name in an annotation file, which ValueError names.

  "/" or "\\" may part it, and ".." stay within the root.
  """
  parts = []
  for part in str(name).replace("\\", "/").split("/"):
    if part == ".." and parts and parts[-1] not in ("", ".."):
      parts.pop()
    elif part != ".":
      parts.append(part)
  try:
    return files.inside(root, "/".join(parts))
  except ValueError as e:
    raise ValueError(f"{where}: {e}") from e


def once(path, used, where):
  """Notes {path: where} in `used`; ValueError if something else has it already."""
  if path in used:
    raise ValueError(f"{where} and {used[path]} have the same key {path}: keep one, or rename it.")
  used[path] = where


def field(record, key, where, kind=object):
  """record[key]; ValueError says where it is missing or of another kind."""
  if not isinstance(record, dict) or key not in record:
    raise ValueError(f"{where}: there is no {key!r} in {str(record)[:80]}.")
  if not isinstance(record[key], kind) or isinstance(record[key], bool):
    raise ValueError(f"{where}: {key!r} is {str(record[key])[:80]!r}, not of type "
                     f"{getattr(kind, '__name__', 'int or str')}.")
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
