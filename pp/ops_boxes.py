"""Ops that bring boxes and masks into the project's form, and cut images with them moved along.

A box is (ymin, xmin, ymax, xmax), each in 0..1 of the image's height or width; [4] or [N,4]. A
mask is uint8 [H,W] or [H,W,C] of the image's size, or its encoded bytes; several are a list.

Training crops in pieces, as big_vision's RefCOCO does; each piece reads what the one before wrote:

  zoomout(max_f=1.5, bboxkey='objects/bbox', auxkeys=['objects/mask'])
  |inception_box(min_obj_cover=1.0, bboxkey='objects/bbox')    writes the box to cut at "box"
  |box_crop_bbox|box_crop_img(key='objects/mask')|box_crop_img(key='image')
"""

import numpy as np

from pp.decode import decode_image
from pp.ops_crop import ATTEMPTS, check_image, random_box
from pp.ops_image import is_list
from pp.registry import OPS, rng_of

FILL = 127  # level of the border that zoomout adds: mid-gray, 0 once it is in [-1, 1]


@OPS.register("zoomout", random=True)
def zoomout(max_f=1.5, key="image", bboxkey=None, auxkeys=(), fill=FILL):
  """Makes what is in the image smaller: pads it at random to up to max_f times its sides.

  Args:
    max_f: the largest factor; each visit draws one in 1..max_f, and where the image lies.
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
    for k in _keys(bboxkey):
      boxes = np.asarray(example[k], np.float32)
      moved[k] = ((boxes * np.tile(sides, 2) + np.tile(begin, 2)) / np.tile(padded, 2)
                  ).astype(np.float32)
    return {**example, **moved, key: _pad(image, begin, padded, fill)}
  return op


@OPS.register("inception_box", random=True)
def inception_box(area=(0.05, 1.0), aspect=(0.75, 1.33), min_obj_cover=0.0, bboxkey=None,
                  outkey="box", inkey="image"):
  """Draws a box to cut, for box_crop_bbox and box_crop_img; writes it, float32 [4], to outkey.

  Args:
    area: its least and largest part of the image, in 0..1.
    aspect: its least and largest width / height.
    min_obj_cover: it holds at least this part of one of the boxes at bboxkey; where a hundred
      draws give no such box, it is the whole image.
    inkey: of the image.
  """
  if not (0 < area[1] <= 1 and 0 <= area[0] <= area[1] and 0 < aspect[0] <= aspect[1]):
    raise ValueError(f"inception_box: area={area} is not within 0..1, or aspect={aspect} is not "
                     "positive.")

  def op(example):
    check_image(example[inkey], "inception_box")
    height, width = example[inkey].shape[-3:-1]
    rng = rng_of(example, "inception_box")
    sides = np.array([height, width, height, width])
    boxes = None if bboxkey is None else np.asarray(example[bboxkey]).reshape(-1, 4)
    for _ in range(ATTEMPTS):
      top, left, h, w = random_box(rng, height, width, area, aspect)
      box = np.array([top, left, top + h, left + w]) / sides
      if boxes is None or not len(boxes) or _covered(boxes, box).max() >= min_obj_cover - 1e-6:
        break
    else:
      box = np.array([0., 0, 1, 1])
    return {**example, outkey: box.astype(np.float32)}
  return op


@OPS.register("box_crop_bbox")
def box_crop_bbox(bboxkey="objects/bbox", boxkey="box"):
  """Boxes of the image -> boxes of the part that the box at `boxkey` cuts, clipped to it."""
  return lambda example: {
      **example, bboxkey: _within(example[bboxkey], _one_box(example, boxkey))}


@OPS.register("box_crop_img")
def box_crop_img(key="image", boxkey="box"):
  """The part of an image or mask (or of each of a list) that the box at `boxkey` cuts."""
  return lambda example: {**example, key: _cut(example[key], _one_box(example, boxkey))}


@OPS.register("box_crop", random=lambda arguments: arguments["jitter"] > 0)
def box_crop(boxkey="bbox", margin=0.0, jitter=0.0, key="image", bboxkey=None, auxkeys=(),
             labelkeys=(), min_visible=0.0):
  """Cuts an image to a box with a margin round it; other boxes and masks move along.

  Args:
    boxkey: key of the box, which itself is moved too.
    margin: on each side, in parts of the box's height and width; it ends at the image's border.
    jitter: moves each side at random by up to this part, outwards or inwards.
    key, auxkeys: of the image, of masks.
    bboxkey: key, or list of keys, of boxes, which are clipped to the part.
    labelkeys: keys of lists that go with bboxkey's boxes [N,4]: of both, entries are dropped of
      which less than min_visible of the box's area, or nothing, is left. Without labelkeys all
      boxes stay, the invisible ones empty.
  """
  if labelkeys and len(_keys(bboxkey)) != 1:
    raise ValueError("box_crop: labelkeys go with one bboxkey.")

  def op(example):
    check_image(example[key], "box_crop")
    box = _one_box(example, boxkey)
    high, wide = box[2:] - box[:2]
    room = margin * np.array([-high, -wide, high, wide])
    if jitter:
      noise = rng_of(example, "box_crop(jitter=...)").uniform(-jitter, jitter, 4)
      room = room + noise * np.array([high, wide, high, wide])
    window = _to_pixels(np.clip(box + room, 0, 1), example[key].shape[-3:-1])
    sides = np.tile(example[key].shape[-3:-1], 2)
    window = window / sides
    changed = {k: _cut(example[k], window) for k in (key, *auxkeys)}
    changed |= {k: _within(example[k], window) for k in {boxkey, *_keys(bboxkey)}}
    if labelkeys:
      [boxes] = _keys(bboxkey)
      covered = _covered(np.asarray(example[boxes]).reshape(-1, 4), window)
      left = np.flatnonzero((covered > 0) & (covered >= min_visible))
      changed[boxes] = changed[boxes].reshape(-1, 4)[left]
      for k in labelkeys:
        value = changed.get(k, example[k])
        changed[k] = value[left] if isinstance(value, np.ndarray) else [value[i] for i in left]
    return {**example, **changed}
  return op


def _keys(key):
  return [key] if isinstance(key, str) else list(key or ())


def _one_box(example, key):
  box = np.asarray(example[key], np.float64)
  if box.shape != (4,) or not np.isfinite(box).all():
    raise ValueError(f"{key!r} must be one box of four finite numbers, got shape {box.shape}; of "
                     "several pick one by `choice`.")
  return box


def _to_pixels(box, sides):
  """Rounds to pixels, half to even, and widens what rounds to none; float64 [4]."""
  high = np.array(sides)
  begin = np.clip(np.round(box[:2] * high), 0, high - 1)
  end = np.clip(np.round(box[2:] * high), begin + 1, high)
  return np.concatenate([begin, end])


def _cut(value, box):
  if is_list(value):
    return [_cut(v, box) for v in value]
  if not isinstance(value, np.ndarray) or not value.ndim:
    value = decode_image(value)
  if value.ndim == 4:
    return np.stack([_cut(v, box) for v in value])
  top, left, bottom, right = _to_pixels(box, value.shape[:2]).astype(int)
  return value[top:bottom, left:right]


def _pad(value, begin, padded, fill):
  if is_list(value):
    return [_pad(v, begin, padded, fill) for v in value]
  if not isinstance(value, np.ndarray) or not value.ndim:
    value = decode_image(value)
  axis = value.ndim - 3 if value.ndim > 2 else 0
  pads = [(0, 0)] * value.ndim
  for n in (0, 1):
    pads[axis + n] = (int(begin[n]), int(padded[n] - begin[n] - value.shape[axis + n]))
    if min(pads[axis + n]) < 0:
      raise ValueError(f"a mask of shape {value.shape} is not of the image's size.")
  return np.pad(value, pads, constant_values=fill)


def _within(boxes, window):
  """Boxes [4] or [N,4] in coordinates of a window, clipped to it; float32."""
  boxes = np.asarray(boxes, np.float64)
  begin, size = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
  return np.clip((boxes - begin) / size, 0, 1).astype(np.float32)


def _covered(boxes, window):
  """Which part of the area of each box [N,4] lies in the window; of an empty box 1 or 0."""
  begin, end = np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])
  inside = (end >= begin).all(axis=1)
  area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
  shared = np.prod(np.maximum(end - begin, 0), axis=1)
  return np.where(area > 0, shared / np.where(area > 0, area, 1), 1.) * inside
