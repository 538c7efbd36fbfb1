"""Mask images: one for each picture, or a folder of them for each picture.

  MASKS/a.png       of IMAGES/a.jpg: a pixel's value (its index, in a palette) names its content.
                    By default it is a class, and each connected region of it an object; with
                    instances=True each value, or colour, is one object. 0 is the background, 255
                    is left out; it is the class where there are two names and no other value.
  MASKS/a/cat_1.png of IMAGES/a.jpg: one object, not 0 where it is; the label is the name of the
                    file without the number at its end.
"""
import pathlib
import re

import numpy as np
from pycocotools import mask as coco_mask

from pp.decode import MAX_PIXELS, open_image
from pp.foreign import read_bytes
from tools.importers import records

VOID = 255  # of PASCAL and Cityscapes: the seam between objects
MAX_FILE = 256 << 20  # bytes
MOST_REGIONS = 1000  # of one image: more are noise, as lossy compression makes of a mask


def read(images, masks, names=(), instances=False):
  """(pictures, classes). names: of the values, from 0 on; of instances the one name of all.

  Images without masks have no objects; raises ValueError, FileNotFoundError where none has any.
  """
  images, masks = pathlib.Path(images), pathlib.Path(masks)
  pictures, labels = [], dict.fromkeys(names[0 if instances else 1:])
  used, stems, binary = set(), {}, None
  for path in records.images_below(images):
    stem = masks / path.relative_to(images).with_suffix("")
    records.once(stem, stems, path)
    if stem.is_dir():
      found = [t for p in sorted(stem.glob("*.png")) for t in _single(p)]
    elif (file := stem.with_name(f"{stem.name}.png")).is_file():
      if binary is None and not instances:  # of all of them
        binary = all(set(np.unique(_values(p, False))) <= {0, VOID} for p in masks.rglob("*.png"))
        if binary and len(names) != 2 and len(names) <= VOID:
          raise ValueError(f"The masks in {masks} have no values but 0 and 255: give two names, "
                           "--class_names background,cat, if 255 is the object; else it is void.")
      found = list(_several(file, names, instances, binary))
    else:
      found = None
    if found is not None:
      used.add(path)
    annotations = [a for a, _ in found or ()]
    sizes = {size for _, size in found or ()}
    if len(sizes) > 1:
      raise ValueError(f"The masks in {stem} differ in size: {sorted(sizes)}.")
    labels |= dict.fromkeys(a.label for a in annotations)
    pictures.append(records.AnnotatedImage(path, sizes.pop() if sizes else None, annotations,
                                           str(stem)))
  if not used:
    raise FileNotFoundError(f"No image in {images} has a mask in {masks}: the mask of a.jpg is "
                            "a.png, or the folder a.")
  return pictures, list(labels)


def _single(path):
  """Yields the Annotation of a mask file of one object."""
  values = _values(path, colours=True) > 0
  label = re.sub(r"[\s_-]*[0-9]*$", "", path.stem).replace("_", " ").strip()
  if not label:
    raise ValueError(f"{path} has no label in its name: call it cat_1.png.")
  if values.any():
    yield _annotation(label, values), values.shape


def _several(path, names, instances, binary):
  """Yields the Annotations of a mask file with a value for each class or object."""
  values = _values(path, colours=instances)
  known = np.unique(values).tolist()
  if binary and len(names) == 2:  # 255 is the class
    values, known = values // VOID, [v // VOID for v in known]
  if len(known) > MOST_REGIONS:
    raise ValueError(f"{path} has {len(known):,} values, more than {MOST_REGIONS}: is it a mask?")
  count = 0
  for value in known:
    if value == 0 or value == VOID and not (instances or value < len(names)):
      continue
    if not (names if instances else value < len(names)):
      which = "of the objects" if instances else "of all values from 0 on, e.g. background,cat,dog"
      raise ValueError(f"{path} has the value {value}, for which there is no name: give "
                       f"--class_names {which}.")
    here = values == value
    if instances:
      yield _annotation(names[0], here), here.shape
      continue
    from scipy import ndimage  # here: slow to import
    regions, found = ndimage.label(here, np.ones((3, 3)))
    if (count := count + found) > MOST_REGIONS:
      raise ValueError(f"{path} has {count:,} regions, more than {MOST_REGIONS}: this is noise, or "
                       "no mask of classes.")
    for n in range(1, found + 1):
      yield _annotation(names[value], regions == n), here.shape


def _annotation(label, mask):
  code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
  box = records.box_of_xywh(coco_mask.toBbox(code).tolist())
  code = {"size": list(map(int, code["size"])), "counts": code["counts"].decode()}
  return records.Annotation(label, box, code)


def _values(path, colours):
  """int [H, W]: the values of a gray or palette PNG; of one in colours, a number for each colour
  that is not black, if `colours` may differ. Where alpha varies, it is the mask."""
  try:
    with open_image(read_bytes(path, MAX_FILE), ("PNG",)) as image:
      if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width}x{image.height} are more than {MAX_PIXELS:,} pixels")
      values = np.asarray(image)
  except Exception as e:  # Pillow's readers raise many kinds: OSError, SyntaxError, bombs
    raise ValueError(f"Cannot read the mask {path} as PNG: {e}.") from e
  if values.ndim == 3:
    if values.shape[2] in (2, 4):
      values = values[..., -1] if np.ptp(values[..., -1]) else values[..., :-1]
  if values.ndim == 3:
    gray = (values == values[..., :1]).all()
    if not (gray or colours):
      raise ValueError(f"The mask {path} is in colours, of which nothing says which class they "
                       "are: save it gray or with a palette, or give --instances if each colour is "
                       "one object.")
    values = values[..., 0] if gray else values @ np.array([1 << 16, 1 << 8, 1], np.int64)
  return values.astype(np.int64)
