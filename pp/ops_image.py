"""Ops on images: encoded bytes -> uint8 [H,W,C] -> resized -> floats. The default key is "image".

decode and resize give the pixels of TensorFlow's decode_image and tf.image.resize: what the
released models were trained on. Both work on uint8, and resize truncates to it, never rounds.
A list of several images of one example, or the frames [T,H,W,C] of a video, are treated alike.
"""

import numpy as np

from pp.decode import MAX_PIXELS, MODES, decode_image  # noqa: F401 (part of this file's face)
from pp.names import pick
from pp.registry import OPS, keyed
from pp.resampling import METHODS, resize_image


def each(fn, join=list):
  """fn of one image; for a list or frames [T,H,W,C] join([fn of each]), frames as one array."""
  def mapped(image):
    if is_list(image):
      return join([fn(i) for i in image])
    if isinstance(image, np.ndarray) and image.ndim == 4 and len(image):
      return np.stack([fn(i) for i in image])
    return fn(image)
  return mapped


def is_list(value):
  """True for a list of images, as a list or as an array of objects [N]."""
  return isinstance(value, list) or (
      isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1)


def pair(size, op):
  """An int or [height, width] -> (height, width); ValueError unless both are positive ints."""
  height, width = (size, size) if isinstance(size, int) else size
  if not (isinstance(height, int) and isinstance(width, int) and min(height, width) > 0):
    raise ValueError(f"{op}: the size {size!r} is not a positive int or [height, width].")
  return height, width


@OPS.register("decode")
@keyed("image")
def decode(channels=3, precise=False):
  """Encoded bytes -> uint8 [H,W,channels].

  JPEG, PNG, GIF (first frame), BMP and WebP. Alpha is dropped, not blended; of 16 bits the high
  eight stay; the EXIF orientation is ignored. uint8 arrays and PIL images are taken as they are.
  A list gives the list of its images.

  Args:
    channels: 3, or 1 for gray.
    precise: JPEG by the accurate DCT, as Pillow does; the default is the fast DCT, which is on
      average 0.8 of 255 darker and equals TensorFlow's default bit for bit.

  Raises:
    ValueError: not one of these formats, truncated or corrupt, or above MAX_PIXELS.
  """
  pick(MODES, channels, "number of channels")
  return each(lambda image: decode_image(image, channels, precise))


@OPS.register("resize", takes={"size": "image_size"})
@keyed("image")
def resize(size, method="bilinear", antialias=False):
  """Resizes [H,W,C] to `size` (int or [height, width]); the aspect ratio is not kept.

  Half-pixel centres, float32 arithmetic; the result is clipped to and cast back to the input's
  dtype, which for uint8 truncates. `antialias` widens the kernel where the image gets smaller;
  "nearest" and "area" have no such choice. A list of N images, of any sizes, becomes one array
  [N,height,width,C].
  """
  size = pair(size, "resize")
  pick(METHODS, method, "resize method")
  return each(lambda image: resize_image(image, size, method, antialias), np.stack)


@OPS.register("resize_small")
@keyed("image")
def resize_small(smaller_size, method="area", antialias=False):
  """Resizes [H,W,C] so that its smaller side is `smaller_size`; the aspect ratio is kept."""
  return _to_side(smaller_size, min, method, antialias)


@OPS.register("resize_long", takes={"longer_size": "image_size"})
@keyed("image")
def resize_long(longer_size, method="area", antialias=True):
  """Resizes [H,W,C] so that its longer side is `longer_size`; the aspect ratio is kept."""
  return _to_side(longer_size, max, method, antialias)


def _to_side(length, side, method, antialias):
  pair(length, f"resize of the {side.__name__} side")
  pick(METHODS, method, "resize method")

  def fn(image):
    sides = np.float32(np.shape(image)[:2])
    factor = np.float32(length) / side(sides)
    # The long side of a thin image would round to nothing.
    size = np.maximum(np.round(sides * factor), 1).astype(int).tolist()
    return resize_image(image, size, method, antialias)
  return each(fn)


@OPS.register("value_range")
@keyed("image")
def value_range(vmin=-1, vmax=1, in_min=0, in_max=255.0, clip_values=False):
  """[in_min, in_max] -> float32 in [vmin, vmax]; in_min and in_max may be lists, per channel."""
  low, span = np.float32(in_min), np.float32(in_max) - np.float32(in_min)
  if not np.all(span):
    raise ValueError(f"value_range: in_min={in_min} and in_max={in_max} must differ.")

  def fn(image):
    image = (np.asarray(image, np.float32) - low) / span
    image = np.float32(vmin) + image * np.float32(vmax - vmin)
    return np.clip(image, vmin, vmax) if clip_values else image
  return fn


@OPS.register("vgg_value_range")
@keyed("image")
def vgg_value_range(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)):
  """(image - mean) / std per channel, float32, in levels of 0..255; defaults are ImageNet's."""
  mean, std = np.float32(mean), np.float32(std)
  return lambda image: (np.asarray(image, np.float32) - mean) / std


@OPS.register("clip_value_range")
@keyed("image")
def clip_value_range():
  """vgg_value_range with the statistics that CLIP was trained with."""
  mean = 255 * np.array([0.48145466, 0.4578275, 0.40821073])
  std = 255 * np.array([0.26862954, 0.26130258, 0.27577711])
  return lambda image: (np.asarray(image, np.float32) - np.float32(mean)) / np.float32(std)
