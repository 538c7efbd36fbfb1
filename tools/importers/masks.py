"""Mask images: one for each picture, or a folder of them for each picture.

  MASKS/a.png       of IMAGES/a.jpg: a pixel's value (its index, in a palette) names its content.
                    By default it is a class, and each connected region of it an object; with
                    instances=True each value is one object. 0 is the background, 255 is left out.
  MASKS/a/cat_1.png of IMAGES/a.jpg: one object, not 0 where it is; the label is the name of the
                    file without the number at its end.
"""
import pathlib
import re

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from tools.importers import records

VOID = 255  # of PASCAL and Cityscapes: the seam between objects


def read(images, masks, names=(), instances=False):
  """(pictures, classes). names: of the values, from 0 on; of instances the one name of all.

  Images without masks have no objects; raises ValueError, FileNotFoundError where none has any.
  """
  images, masks = pathlib.Path(images), pathlib.Path(masks)
  pictures, labels = [], dict.fromkeys(names[0 if instances else 1:])
  used = set()
  for path in records.images_below(images):
    stem = masks / path.relative_to(images).with_suffix("")
    if stem.is_dir():
      found = [t for p in sorted(stem.glob("*.png")) for t in _single(p)]
    elif (file := stem.with_name(f"{stem.name}.png")).is_file():
      found = list(_several(file, names, instances))
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
  values = _values(path) > 0
  label = re.sub(r"[\s_-]*[0-9]*$", "", path.stem).replace("_", " ").strip()
  if not label:
    raise ValueError(f"{path} has no label in its name: call it cat_1.png.")
  if values.any():
    yield _annotation(label, values), values.shape


def _several(path, names, instances):
  """Yields the Annotations of a mask file with a value for each class or object."""
  values = _values(path)
  for value in np.unique(values).tolist():
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
    regions, count = ndimage.label(here, np.ones((3, 3)))
    for n in range(1, count + 1):
      yield _annotation(names[value], regions == n), here.shape


def _annotation(label, mask):
  code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
  box = records.box_of_xywh(coco_mask.toBbox(code).tolist())
  code = {"size": list(map(int, code["size"])), "counts": code["counts"].decode()}
  return records.Annotation(label, box, code)


def _values(path):
  """int [H, W]: the values of a gray or palette image; of colours, above 0 unless black."""
  try:
    with Image.open(path) as image:
      if image.mode == "RGBA":
        image = image.getchannel("A") if np.ptp(image.getchannel("A")) else image.convert("RGB")
      values = np.asarray(image)
  except Exception as e:  # Pillow's readers raise many kinds: OSError, SyntaxError, bombs
    raise ValueError(f"Cannot read the mask {path}: {e}.") from e
  return values.astype(np.int64) if values.ndim == 2 else values.max(-1).astype(np.int64)
