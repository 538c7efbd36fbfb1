"""Ops that crop or pad images and move their boxes and masks along.

A box is (ymin, xmin, ymax, xmax), each in 0..1 of the image's height or width; [4] or [N,4]. A
mask is uint8 [H,W] or [H,W,C] of the image's size, or its encoded bytes; several are a list.

A random crop takes several ops, as in big_vision's RefCOCO; each op reads what the last one wrote:

  zoomout(max_f=1.5, bboxkey='objects/bbox', auxkeys=['objects/mask'])
  |inception_box(min_obj_cover=1.0, bboxkey='objects/bbox')    writes the box to cut at "box"
  |box_crop_bbox|box_crop_img(key='objects/mask')|box_crop_img(key='image')
"""

import numpy as np

from pp.decode import decode_image
from pp.ops_crop import ATTEMPTS, as_list, check_image, random_box
from pp.ops_general import take
from pp.ops_image import is_list
from pp.registry import OPS, rng_of

FILL = 127  # mid-gray, which value_range maps to 0


@OPS.register("zoomout", random=True)
def zoomout(max_f=1.5, key="image", bboxkey=None, auxkeys=(), fill=FILL):
  """Pads the image at random, so that its content becomes smaller.

  Args:
    max_f: the largest factor of the sides; the op draws one in 1..max_f, and the image's place.
    key: of the image [H,W,C].
    bboxkey: key, or list of keys, of boxes that move along.
    auxkeys: keys of masks, which are padded with 0.
    fill: level of the border.
  """
  if max_f < 1:
    raise ValueError(f"zoomout: max_f={max_f} is less than 1, which would crop; use box_crop.")

  def op(example):
    image = example[key]
    check_image(image, "zoomout")
    rng = rng_of(example, "zoomout")
    factor = rng.uniform(1, max_f)
    sides = np.array(image.shape[-3:-1])
    padded = np.round(sides * factor).astype(int)
    begin = rng.integers(padded - sides + 1)
    moved = {k: _pad(example[k], begin, padded, 0) for k in auxkeys}
    for k in as_list(bboxkey):
      boxes = np.float32(boxes_at(example, k))
      moved[k] = ((boxes * np.tile(sides, 2) + np.tile(begin, 2)) / np.tile(padded, 2)
                  ).astype(np.float32)
    return {**example, **moved, key: _pad(image, begin, padded, fill)}
  return op


@OPS.register("inception_box", random=True)
def inception_box(area=(0.05, 1.0), aspect=(0.75, 1.33), min_obj_cover=0.0, bboxkey=None,
                  outkey="box", inkey="image"):
  """Draws a random crop box, float32 [4], for box_crop_bbox and box_crop_img.

  Args:
    area: its least and largest fraction of the image's area.
    aspect: its least and largest width / height.
    min_obj_cover: the fraction of at least one of the boxes at bboxkey that it has to cover. If a
      hundred draws give no such box, it is the whole image.
    bboxkey: key of boxes; None for none.
    outkey: key for the box.
    inkey: of the image.
  """
  if not (0 < area[1] <= 1 and 0 <= area[0] <= area[1] and 0 < aspect[0] <= aspect[1]):
    raise ValueError(f"inception_box: area={area} is not within 0..1, or aspect={aspect} is not "
                     "positive.")

  def op(example):
    check_image(example[inkey], "inception_box")
    height, width = example[inkey].shape[-3:-1]
    rng = rng_of(example, "inception_box")
    boxes = None if bboxkey is None else boxes_at(example, bboxkey).reshape(-1, 4)
    for _ in range(ATTEMPTS):
      top, left, h, w = random_box(rng, height, width, area, aspect)
      box = np.array([top, left, top + h, left + w]) / [height, width, height, width]
      if boxes is None or not len(boxes) or _covered(boxes, box).max() >= min_obj_cover - 1e-6:
        break
    else:
      box = np.array([0., 0, 1, 1])
    return {**example, outkey: box.astype(np.float32)}
  return op


@OPS.register("box_crop_bbox")
def box_crop_bbox(bboxkey="objects/bbox", boxkey="box"):
  """Converts boxes to coordinates of the crop box at `boxkey`, and clips them to it."""
  return lambda example: {
      **example, bboxkey: _within(boxes_at(example, bboxkey), one_box(example, boxkey))}


@OPS.register("box_crop_img")
def box_crop_img(key="image", boxkey="box"):
  """Crops an image or mask, or each of a list, to the box at `boxkey`."""
  return lambda example: {**example, key: _cut(example[key], one_box(example, boxkey))}


@OPS.register("box_crop", random=lambda arguments: arguments["jitter"] > 0)
def box_crop(boxkey="bbox", margin=0.0, jitter=0.0, key="image", bboxkey=None, auxkeys=(),
             labelkeys=(), min_visible=0.0):
  """Crops an image to a box with a margin around it; other boxes and masks move along.

  Args:
    boxkey: key of the box, which is converted to coordinates of the crop too.
    margin: on each side, as a fraction of the box's height and width, up to the image's border.
    jitter: moves each side at random by up to this fraction, outwards or inwards.
    key, auxkeys: of the image; of masks.
    bboxkey: key, or list of keys, of boxes, which are clipped to the crop.
    labelkeys: keys of lists that belong to bboxkey's boxes [N,4]. Boxes outside of the crop, and
      boxes of which less than min_visible of the area is inside, are then dropped with their
      entries. Without labelkeys all boxes stay, and those outside are empty.
  """
  if labelkeys and len(as_list(bboxkey)) != 1:
    raise ValueError("box_crop: labelkeys go with one bboxkey.")

  def op(example):
    check_image(example[key], "box_crop")
    box = one_box(example, boxkey)
    high, wide = box[2:] - box[:2]
    room = margin * np.array([-high, -wide, high, wide])
    if jitter:
      noise = rng_of(example, "box_crop(jitter=...)").uniform(-jitter, jitter, 4)
      room = room + noise * np.array([high, wide, high, wide])
    window = _to_pixels(np.clip(box + room, 0, 1), example[key].shape[-3:-1])
    sides = np.tile(example[key].shape[-3:-1], 2)
    window = window / sides
    changed = {k: _cut(example[k], window) for k in (key, *auxkeys)}
    changed |= {k: _within(boxes_at(example, k), window) for k in {boxkey, *as_list(bboxkey)}}
    if labelkeys:
      [boxes] = as_list(bboxkey)
      covered = _covered(boxes_at(example, boxes).reshape(-1, 4), window)
      left = np.flatnonzero((covered > 0) & (covered >= min_visible))
      changed[boxes] = changed[boxes].reshape(-1, 4)[left]
      changed |= {k: take(changed.get(k, example[k]), left) for k in labelkeys}
    return {**example, **changed}
  return op


def boxes_at(example, key):
  """float64 [4] or [N,4]: the boxes at `key`, which may leave the image, but not by far.

  Raises ValueError for other shapes, and for numbers that cannot be ymin, xmin, ymax, xmax in 0..1:
  clipped to the image they would all be one corner.
  """
  boxes = np.asarray(example[key], np.float64)
  if not boxes.size:
    return boxes.reshape(-1, 4)
  if boxes.ndim > 2 or boxes.shape[-1:] != (4,) or not np.isfinite(boxes).all():
    raise ValueError(f"{key!r} must be boxes of four finite numbers, got shape {boxes.shape}.")
  each = boxes.reshape(-1, 4)
  far = (each < -1) | (each > 2)
  swapped = each[:, 2:] < each[:, :2] - 1e-6  # less is rounding of an empty box
  for bad, why in ((far, "not in 0..1 of the image: are these pixels?"),
                   (swapped, "which ends before it begins.")):
    if bad.any():
      raise ValueError(f"{key!r} has the box {each[bad.any(axis=1)][0].tolist()}, {why} The order "
                       "is ymin, xmin, ymax, xmax; before this op put the format that they have, "
                       f"such as box_format({key!r}, 'xyxy_pixels').")
  return boxes


def one_box(example, key):
  """float64 [4]: the box at `key`; ValueError as boxes_at, and if it is not one."""
  box = boxes_at(example, key)
  if box.shape != (4,):
    raise ValueError(f"{key!r} must be one box of four finite numbers, got shape {box.shape}; of "
                     "several pick one, and what belongs to it, by one choice(key=[...]).")
  return box


def _to_pixels(box, sides):
  """Box in pixels, rounded half to even and at least one pixel wide and high; float64 [4]."""
  high = np.array(sides)
  begin = np.clip(np.round(box[:2] * high), 0, high - 1)
  end = np.clip(np.round(box[2:] * high), begin + 1, high)
  return np.concatenate([begin, end])


def _decoded(value):
  """An image or mask as an array, decoded if it is encoded."""
  return value if isinstance(value, np.ndarray) and value.ndim else decode_image(value)


def _cut(value, box):
  if is_list(value):
    return [_cut(v, box) for v in value]
  value = _decoded(value)
  if value.ndim == 4:
    return np.stack([_cut(v, box) for v in value])
  top, left, bottom, right = _to_pixels(box, value.shape[:2]).astype(int)
  return value[top:bottom, left:right]


def _pad(value, begin, padded, fill):
  if is_list(value):
    return [_pad(v, begin, padded, fill) for v in value]
  value = _decoded(value)
  axis = value.ndim - 3 if value.ndim > 2 else 0
  pads = [(0, 0)] * value.ndim
  for n in (0, 1):
    pads[axis + n] = (int(begin[n]), int(padded[n] - begin[n] - value.shape[axis + n]))
    if min(pads[axis + n]) < 0:
      raise ValueError(f"a mask of shape {value.shape} is not of the image's size.")
  return np.pad(value, pads, constant_values=fill)


def _within(boxes, window):
  """Boxes [4] or [N,4] converted to coordinates of a window and clipped to it; float32."""
  begin, size = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
  return np.clip((boxes - begin) / size, 0, 1).astype(np.float32)


def _covered(boxes, window):
  """The fraction of the area of each box [N,4] inside the window; 1 or 0 for an empty box."""
  begin, end = np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])
  inside = (end >= begin).all(axis=1)
  area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
  shared = np.prod(np.maximum(end - begin, 0), axis=1)
  return np.where(area > 0, shared / np.where(area > 0, area, 1), 1.) * inside
