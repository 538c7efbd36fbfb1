"""Ops that convert annotations to the boxes and masks that other ops take.

  box_format     boxes in a usual format              -> (ymin, xmin, ymax, xmax) in 0..1
  polygon_mask   COCO's polygons or run-length codes  -> masks uint8 [H,W], 0 or 255
"""

import numpy as np

from pp.decode import open_image, orientation
from pp.names import pick
from pp.registry import OPS

# The four numbers of a format -> ymin, xmin, ymax, xmax.
FORMS = {
    "yxyx": lambda a, b, c, d: (a, b, c, d),
    "xyxy": lambda a, b, c, d: (b, a, d, c),
    "xywh": lambda a, b, c, d: (b, a, b + d, a + c),
    "yxhw": lambda a, b, c, d: (a, b, a + c, b + d),
    "cxcywh": lambda a, b, c, d: (b - d / 2, a - c / 2, b + d / 2, a + c / 2),
}
FORMATS = [f + unit for f in FORMS for unit in ("", "_pixels", "_percent")]


@OPS.register("box_format")
def box_format(key, format, outkey=None, image="image", size=None):
  """Converts boxes [4] or [N,4] to float32 (ymin, xmin, ymax, xmax) in 0..1, clipped to the image.

  Args:
    key: of the boxes; the result goes to outkey, or replaces them.
    format: "xyxy" (corners), "xywh" (corner and size, as COCO), "cxcywh" (centre and size, as
      YOLO), "yxyx" or "yxhw", in 0..1. With the ending "_pixels" or "_percent", in these units;
      Pascal VOC has "xyxy_pixels".
    image: key of the image, bytes or array, that pixels refer to; no op may have cropped it.
    size: instead of the image, the keys of its height and width, e.g. ["height", "width"].

  Raises:
    ValueError: a box is not four finite numbers, or ends before it begins.
  """
  pick({f: f for f in FORMATS}, format, "box format")
  form, _, unit = format.partition("_")

  def op(example):
    boxes = np.asarray(example[key], np.float64)
    if boxes.shape[-1:] != (4,) and boxes.size or not np.isfinite(boxes).all():
      raise ValueError(f"{key!r} must be boxes of four finite numbers, got shape {boxes.shape}.")
    boxes = boxes.reshape(boxes.shape if boxes.ndim == 1 and boxes.size else (-1, 4))
    boxes = np.stack(FORMS[form](*np.moveaxis(boxes, -1, 0)), axis=-1)
    if unit == "pixels":
      boxes = boxes / np.tile(_size(example, image, size), 2)
    if unit == "percent":
      boxes = boxes / 100
    if (boxes[..., 2:] < boxes[..., :2]).any():
      raise ValueError(f"a box ends before it begins: {np.asarray(example[key]).tolist()} is not "
                       f"in the format {format!r}.")
    return {**example, outkey or key: np.clip(boxes, 0, 1).astype(np.float32)}
  return op


@OPS.register("polygon_mask")
def polygon_mask(key="segmentation", outkey=None, image="image", size=None):
  """Converts COCO's segmentations to masks uint8 [H,W], 0 or 255.

  Args:
    key: of one object or a list of objects, which gives a list of masks. An object is a list of
      polygons [x, y, x, y, ...] in pixels, or a run-length code {"counts": ints or a string,
      "size": [H, W]}. The result goes to outkey, or replaces them.
    image, size: as in `box_format`.
  """
  def op(example):
    height, width = (int(n) for n in _size(example, image, size))
    value = example[key]
    listed = isinstance(value, (list, tuple)) and (not len(value) or isinstance(value[0], dict))
    several = listed or _depth(value) == 3
    masks = [_mask(v, height, width) for v in (value if several else [value])]
    return {**example, outkey or key: masks if several else masks[0]}
  return op


def _depth(value):
  return 1 + _depth(value[0]) if isinstance(value, (list, tuple, np.ndarray)) and len(value) else 0


def _mask(value, height, width):
  if isinstance(value, dict):
    return _from_runs(value, height, width)
  polygons = [value] if _depth(value) == 1 else list(value)
  polygons = [np.asarray(p, np.float64).ravel().tolist() for p in polygons]
  if not polygons or min(map(len, polygons)) < 6 or any(len(p) % 2 for p in polygons):
    raise ValueError("a polygon is a list x, y, x, y, ... of three points at least, got "
                     f"{str(value)[:60]}.")
  from pycocotools import mask as coco  # here: few data sets need it, and it is slow to import
  return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))) * np.uint8(255)


def _from_runs(value, height, width):
  """Mask of COCO's run lengths, which count background and object in turns, column by column."""
  counts = value["counts"]
  if isinstance(counts, (str, bytes)):
    counts = run_lengths(counts.encode() if isinstance(counts, str) else counts)
  if (list(value.get("size", ())) != [height, width] or min(counts, default=0) < 0
      or sum(counts) != height * width):
    raise ValueError(f"run lengths of size {value.get('size')} and sum {sum(counts)} in an image "
                     f"of height {height} and width {width}.")
  levels = np.resize(np.uint8([0, 255]), len(counts))
  return np.ascontiguousarray(np.repeat(levels, counts).reshape(width, height).T)


def run_lengths(text):
  """Run lengths from COCO's string: five bits a character; from the fourth number on, differences.

  pycocotools decodes such strings too, but fills the end of a mask whose string is too short with
  uninitialized memory. Raises ValueError for a string that is cut off or of other characters.
  """
  counts, value, shift = [], 0, 0
  for code in text:
    code -= 48
    if not 0 <= code < 64 or shift > 30:  # 2**32 pixels are beyond every image
      raise ValueError(f"{str(text)[:40]} is not a string of run lengths.")
    value |= (code & 31) << shift
    shift += 5
    if not code & 32:  # the last of a number; its top bit is the sign
      value -= (code & 16) << (shift - 4)
      counts.append(value + (counts[-2] if len(counts) > 2 else 0))
      value, shift = 0, 0
  if shift:
    raise ValueError(f"the string of run lengths {str(text)[:40]} is cut off.")
  return counts


def _size(example, image, size):
  """float64 (height, width) of the image; of an encoded one only the header is read."""
  if size is not None:
    return np.array([float(example[k]) for k in size])
  value = example[image]
  if isinstance(value, np.ndarray) and value.ndim >= 3:
    return np.array(value.shape[-3:-1], np.float64)
  value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
  try:
    with open_image(value) as opened:
      turned = orientation(opened)
      found = np.array([opened.height, opened.width], np.float64)
  except Exception as e:  # Pillow's readers raise many kinds
    raise ValueError(f"cannot tell the size of the image at {image!r}: {e}; name the keys of its "
                     "height and width, size=['height', 'width'].") from e
  if turned > 4:  # height and width change places when it is turned
    raise ValueError(f"the image at {image!r} lies on its side (EXIF orientation {turned}): put "
                     "decode(exif=True), or decode where the annotations are of the picture as it "
                     "is stored, before this op.")
  return found
