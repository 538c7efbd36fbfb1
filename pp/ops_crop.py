"""Ops that crop or mirror images [H,W,C].

All frames [I,H,W,C] of a video get the same crop; each image of a list gets its own. Crops that
move boxes and masks along are in ops_boxes.py.
"""

import numpy as np

from pp.decode import decode_image
from pp.names import pick
from pp.ops_image import each, is_list, pair
from pp.registry import OPS, rng_of, with_keys
from pp.resampling import METHODS, resize_image

ATTEMPTS = 100  # to draw a crop that fits; then the op takes the whole image


def _each(fn):
  """Extends fn(image or frames, generator) to a list of images, each by itself."""
  return lambda image, rng: [fn(i, rng) for i in image] if is_list(image) else fn(image, rng)


def random_box(rng, height, width, area, aspect):
  """Draws (top, left, height, width) in pixels, as TensorFlow's sample_distorted_bounding_box.

  Draws the aspect (width / height) uniformly in `aspect`, then the height uniformly among those
  whose fraction of the image's area is in `area`. Returns the whole image if no draw fits.
  """
  least, most = np.array(area) * height * width
  for _ in range(ATTEMPTS):
    ratio = rng.uniform(*aspect)
    high = min(round(float(np.sqrt(most / ratio))), height, int((width + 0.5) / ratio))
    low = min(round(float(np.sqrt(least / ratio))), high)
    h = int(rng.integers(low, high + 1))
    w = round(h * ratio)
    if h * w < least:
      h, w = h + 1, round((h + 1) * ratio)
    if h * w > most:
      h, w = h - 1, round((h - 1) * ratio)
    if least <= h * w <= most and 0 < h <= height and 0 < w <= width:
      return (int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w)
  return 0, 0, height, width


@OPS.register("inception_crop", random=True, sets={"size": "image_size"})
@with_keys("image", random=True)
def inception_crop(size=None, area_min=5, area_max=100, method="bilinear", antialias=False):
  """Crops at random, with an aspect (width / height) of 0.75 to 1.33, and resizes to `size`.

  Args:
    size: int or [height, width]; None does not resize.
    area_min, area_max: area of the crop in percent of the image's.
    method, antialias: as in `resize`.
  """
  return _inception_crop(size, area_min, area_max, .75, 1.33, method, antialias)


@OPS.register("decode_jpeg_and_inception_crop", random=True, sets={"size": "image_size"})
@with_keys("image", random=True)
def decode_jpeg_and_inception_crop(size=None, area_min=5, area_max=100, ratio_min=0.75,
                                   ratio_max=1.33, method="bilinear", antialias=False):
  """Does `decode` and `inception_crop`, with the aspect (width / height) as arguments."""
  crop = _inception_crop(size, area_min, area_max, ratio_min, ratio_max, method, antialias)
  return _each(lambda data, rng: crop(decode_image(data), rng))


def _inception_crop(size, area_min, area_max, ratio_min, ratio_max, method, antialias):
  if not (0 <= area_min <= area_max <= 100 and area_max and 0 < ratio_min <= ratio_max):
    raise ValueError(f"inception_crop: the area {area_min}..{area_max} is not within 0..100 "
                     f"percent, or the aspect {ratio_min}..{ratio_max} is not positive.")
  pick(METHODS, method, "resize method")
  size = pair(size, "inception_crop") if size else None
  resize = each(lambda image: resize_image(image, size, method, antialias) if size else image)

  def fn(image, rng):
    check_image(image, "inception_crop")
    top, left, h, w = random_box(rng, *image.shape[-3:-1], (area_min / 100, area_max / 100),
                                 (ratio_min, ratio_max))
    return resize(image[..., top:top + h, left:left + w, :])
  return _each(fn)


@OPS.register("random_crop", random=True, takes={"crop_size": "image_size"})
@with_keys("image", random=True)
def random_crop(crop_size):
  """Crops at random to `crop_size` (int or [height, width]) pixels."""
  height, width = pair(crop_size, "random_crop")

  def fn(image, rng):
    check_image(image, "random_crop", height, width)
    top = int(rng.integers(image.shape[-3] - height + 1))
    left = int(rng.integers(image.shape[-2] - width + 1))
    return image[..., top:top + height, left:left + width, :]
  return _each(fn)


@OPS.register("central_crop", sets={"crop_size": "image_size"})
@with_keys("image")
def central_crop(crop_size=None):
  """Crops the middle of `crop_size` (int or [height, width]); None takes the largest square."""
  size = pair(crop_size, "central_crop") if crop_size else None

  def fn(image):
    check_image(image, "central_crop", *(size or ()))
    height, width = size or [min(image.shape[-3:-1])] * 2
    top, left = (image.shape[-3] - height) // 2, (image.shape[-2] - width) // 2
    return image[..., top:top + height, left:left + width, :]
  return each(fn)


def check_image(image, op, height=1, width=1):
  """Raises ValueError unless `image` is [H,W,C] or [I,H,W,C], of at least height x width pixels."""
  if not isinstance(image, np.ndarray) or image.ndim not in (3, 4):
    got = f"shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise ValueError(f"{op} needs an array [H,W,C], got {got}; is `decode` before it?")
  have = image.shape[-3:-1]
  if have[0] < height or have[1] < width:
    raise ValueError(f"{op}: an image of {have[1]}x{have[0]} pixels is smaller than the crop of "
                     f"{width}x{height}; put `resize_small` before it.")


@OPS.register("flip_lr", random=True)
def flip_lr(key=None, inkey="image", outkey="image", bbox_key=None, mask_key=None):
  """Mirrors the image left to right with probability 1/2.

  Args:
    key, inkey, outkey: of the image, frames or list of images, which are all mirrored or none.
    bbox_key: key, or list of keys, of boxes [4] or [N,4] to mirror along.
    mask_key: key, or list of keys, of decoded masks [H,W] or [H,W,C] to mirror along.

  No other value changes. A text with words such as "left" is wrong after a flip.
  """
  source, target = key or inkey, key or outkey
  boxes, masks = as_list(bbox_key), as_list(mask_key)

  def op(example):
    image = example[source]
    for one in image if is_list(image) else [image]:
      check_image(one, "flip_lr")
    if rng_of(example, "flip_lr").random() >= 0.5:
      return {**example, target: image}
    turn = lambda i: i[..., ::-1, :]
    turned = [turn(i) for i in image] if is_list(image) else turn(image)
    turned = {target: turned, **{k: _mirrored(example[k]) for k in boxes}}
    return {**example, **turned, **{k: np.asarray(example[k])[:, ::-1] for k in masks}}
  return op


def as_list(key):
  """[key] of a single key, the list of several, [] of None."""
  return [key] if isinstance(key, str) else list(key or ())


def _mirrored(boxes):
  """(ymin, xmin, ymax, xmax) -> (ymin, 1 - xmax, ymax, 1 - xmin)."""
  boxes = np.array(boxes)
  boxes[..., 1], boxes[..., 3] = 1 - boxes[..., 3], 1 - boxes[..., 1]
  return boxes
