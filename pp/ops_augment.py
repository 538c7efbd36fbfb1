"""Ops that vary how an image was made, so that a model does not depend on it."""

import io

import numpy as np
import simplejpeg
from PIL import Image

from pp.ops_image import each, pair
from pp.registry import OPS, keyed
from pp.resampling import resize_image

METHODS = ("bilinear", "bicubic", "lanczos3", "area", "mitchellcubic")
QUALITIES = (75, 95)  # both ends included


@OPS.register("resize_r", random=True, takes={"size": "image_size"})
@keyed("image", random=True)
def resize_r(size):
  """`resize` by a random method, with or without antialias."""
  size = pair(size, "resize_r")

  def fn(image, rng):
    method, antialias = METHODS[rng.integers(len(METHODS))], bool(rng.integers(2))
    return each(lambda i: resize_image(i, size, method, antialias), np.stack)(image)
  return fn


@OPS.register("random_jpeg", random=True)
@keyed("image", random=True)
def random_jpeg(p):
  """With probability `p`, a uint8 image goes through JPEG of a random quality, 75 to 95.

  Half of the times it is decoded by the fast DCT, half by the accurate one.
  """
  if not 0 <= p <= 1:
    raise ValueError(f"random_jpeg: p={p} is no probability.")

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
