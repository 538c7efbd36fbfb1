"""Ops that vary resizing and compression at random, so that a model does not depend on them."""

import io

import numpy as np
import simplejpeg
from PIL import Image

from pp.ops_image import each, pair
from pp.registry import OPS, with_keys
from pp.resampling import resize_image

METHODS = ("bilinear", "bicubic", "lanczos3", "area", "mitchellcubic")
QUALITIES = (75, 95)  # both ends included


@OPS.register("resize_r", random=True, takes={"size": "image_size"})
@with_keys("image", random=True)
def resize_r(size):
  """Resizes by a random method, with or without antialias; `size` as in `resize`."""
  size = pair(size, "resize_r")

  def fn(image, rng):
    method, antialias = METHODS[rng.integers(len(METHODS))], bool(rng.integers(2))
    return each(lambda i: resize_image(i, size, method, antialias), np.stack)(image)
  return fn


@OPS.register("random_jpeg", random=True)
@with_keys("image", random=True)
def random_jpeg(p):
  """With probability `p`, compresses a uint8 image to JPEG of a random quality from 75 to 95.

  It is decoded with the fast or the accurate DCT, each half of the time.
  """
  if not 0 <= p <= 1:
    raise ValueError(f"random_jpeg: p={p} is not a probability.")

  def fn(image, rng):
    if rng.random() >= p:
      return image
    quality, fast = int(rng.integers(QUALITIES[0], QUALITIES[1] + 1)), bool(rng.integers(2))
    return each(lambda i: _through_jpeg(i, quality, fast))(image)
  return fn


def _through_jpeg(image, quality, fast):
  if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[-1] not in (1, 3):
    raise ValueError("random_jpeg needs a uint8 image [H,W,3]; put it after decode and before "
                     "value_range.")
  buffer = io.BytesIO()
  Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
      buffer, "JPEG", quality=quality)
  return simplejpeg.decode_jpeg(
      buffer.getvalue(), colorspace="RGB" if image.shape[-1] == 3 else "GRAY", fastdct=fast)
