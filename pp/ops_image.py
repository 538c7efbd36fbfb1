"""Ops on images: encoded bytes -> uint8 [H,W,C] -> resized -> floats. The default key is "image".

`decode` and `resize` give the pixels of TensorFlow's decode_image and tf.image.resize, on which the
released models were trained. Both return uint8; `resize` truncates to it and does not round. All
ops also take a list of images, or the frames [I,H,W,C] of a video.
"""

import numpy as np

from pp.decode import MODES, decode_image
from pp.names import pick
from pp.registry import OPS, with_keys
from pp.resampling import METHODS, resize_image


def each(fn, join=list):
  """Extends fn(image) to frames, which give an array, and to lists, whose results join joins."""
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
  """(height, width) of an int or [height, width]; ValueError unless both are positive ints."""
  height, width = (size, size) if isinstance(size, int) else size
  if not (isinstance(height, int) and isinstance(width, int) and min(height, width) > 0):
    raise ValueError(f"{op}: the size {size!r} is not a positive int or [height, width].")
  return height, width


@OPS.register("decode")
@with_keys("image")
def decode(channels=3, precise=False, exif=False):
  """Decodes JPEG, PNG, GIF (the first frame), BMP or WebP to uint8 [H,W,channels].

  Drops alpha without blending, and keeps the high eight of 16 bits.
  uint8 arrays and PIL images are accepted too. A list gives a list.

  Args:
    channels: 3, or 1 for gray.
    precise: decode JPEG with the accurate DCT, as Pillow does. The default is the fast DCT, which
      equals TensorFlow's default bit for bit and is on average 0.8 of 255 darker.
    exif: turn a picture upright as its EXIF orientation says; for data of one's own, as phones take
      them. The default leaves it as it is stored, as TensorFlow does with the papers' data sets.

  Raises:
    ValueError: another format, a truncated or corrupt file, or more than decode.MAX_PIXELS.
  """
  pick(MODES, channels, "number of channels")
  return each(lambda image: decode_image(image, channels, precise, exif))


@OPS.register("resize", takes={"size": "image_size"})
@with_keys("image")
def resize(size, method="bilinear", antialias=False):
  """Resizes [H,W,C] to `size` (int or [height, width]) and does not keep the aspect ratio.

  Computes in float32 with half-pixel centres, as tf.image.resize, then clips and casts to the
  input's dtype; for uint8 the cast truncates. A list of I images of any sizes becomes an array
  [I,height,width,C].

  Args:
    method: "bilinear", "bicubic", "lanczos3", "lanczos5", "gaussian", "mitchellcubic", "nearest" or
      "area".
    antialias: widen the kernel if the image becomes smaller; "nearest" and "area" ignore it.
  """
  size = pair(size, "resize")
  pick(METHODS, method, "resize method")
  return each(lambda image: resize_image(image, size, method, antialias), np.stack)


@OPS.register("resize_small")
@with_keys("image")
def resize_small(smaller_size, method="area", antialias=False):
  """Resizes [H,W,C] to a smaller side of `smaller_size` and keeps the aspect ratio."""
  return _to_side(smaller_size, min, method, antialias)


@OPS.register("resize_long", takes={"longer_size": "image_size"})
@with_keys("image")
def resize_long(longer_size, method="area", antialias=True):
  """Resizes [H,W,C] to a longer side of `longer_size` and keeps the aspect ratio."""
  return _to_side(longer_size, max, method, antialias)


def _to_side(length, side, method, antialias):
  pair(length, f"resize of the {side.__name__} side")
  pick(METHODS, method, "resize method")

  def fn(image):
    sides = np.float32(np.shape(image)[:2])
    factor = np.float32(length) / side(sides)
    # The short side of a thin image could round to 0.
    size = np.maximum(np.round(sides * factor), 1).astype(int).tolist()
    return resize_image(image, size, method, antialias)
  return each(fn)


@OPS.register("value_range")
@with_keys("image")
def value_range(vmin=-1, vmax=1, in_min=0, in_max=255.0, clip_values=False):
  """Maps [in_min, in_max] to [vmin, vmax], float32; in_min and in_max may be lists, per channel."""
  low, span = np.float32(in_min), np.float32(in_max) - np.float32(in_min)
  if not np.all(span):
    raise ValueError(f"value_range: in_min={in_min} and in_max={in_max} must differ.")

  def fn(image):
    image = (np.asarray(image, np.float32) - low) / span
    image = np.float32(vmin) + image * np.float32(vmax - vmin)
    return np.clip(image, vmin, vmax) if clip_values else image
  return fn


@OPS.register("vgg_value_range")
@with_keys("image")
def vgg_value_range(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)):
  """Returns (image - mean) / std per channel, float32; the defaults are ImageNet's, of 0..255."""
  mean, std = np.float32(mean), np.float32(std)
  return lambda image: (np.asarray(image, np.float32) - mean) / std


@OPS.register("clip_value_range")
@with_keys("image")
def clip_value_range():
  """Does `vgg_value_range` with the statistics of CLIP's training."""
  mean = 255 * np.array([0.48145466, 0.4578275, 0.40821073])
  std = 255 * np.array([0.26862954, 0.26130258, 0.27577711])
  return lambda image: (np.asarray(image, np.float32) - np.float32(mean)) / np.float32(std)
