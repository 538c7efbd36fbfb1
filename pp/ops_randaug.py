"""RandAugment (arXiv 1909.13719) as big_vision has it: a few of 16 changes of an image, one by one.

With m = magnitude / 10; where it says "or" a coin decides, and the place of Cutout is drawn:

  AutoContrast, Equalize, Invert                  of each channel
  Rotate, ShearX, ShearY, TranslateX, TranslateY  by 30 m or -30 m degrees, by 0.3 m or -0.3 m of a
                                                  side, by 100 m or -100 m pixels; nearest pixels
  Posterize        keeps the upper int(4 m) bits, one at least
  Solarize         inverts levels from int(256 m) modulo 256 on: at a magnitude of 10 all of them
  SolarizeAdd      adds int(110 m) to levels below 128
  Color, Contrast, Brightness, Sharpness          away from gray, from one level, from black, from a
                   blurred image, by the factor 1.8 m + 0.1; below 1 it is towards it
  Cutout           a square of 2 int(40 m) pixels anywhere

What is empty becomes gray, 128. The level of Contrast is not the mean of the image, as in PIL, but
the number of its pixels / 256, 255 at most: big_vision's models were trained with it so. In the
same way 256 is 0 for Solarize there. Levels are truncated as there; goldens of its code are in
tests/golden/randaug.npz.
"""
import functools

import numpy as np

from pp.ops_image import is_list
from pp.registry import OPS, with_keys

GRAY = 128  # of what is empty
CUTOUT, TRANSLATE = 40, 100  # pixels at a magnitude of 10
WEIGHTS = np.array([0.2989, 0.587, 0.114], np.float32)  # of the colors in gray


@OPS.register("randaug", random=True)
@with_keys("image", random=True)
def randaug(num_layers=2, magnitude=10):
  """Changes a uint8 image [H,W,3] by `num_layers` of the 16 changes above, drawn at random.

  All frames of a video get the same changes, each image of a list its own. It comes after decode
  and resize, and before value_range.

  Args:
    num_layers: how many changes, one after the other; one may be drawn twice.
    magnitude: how strong they are, 0 to 30; 0 is not nothing.
  """
  if not isinstance(num_layers, int) or num_layers < 0:
    raise ValueError(f"randaug: num_layers={num_layers} is not a whole number of 0 or more.")
  if not 0 <= magnitude <= 30:
    raise ValueError(f"randaug: magnitude={magnitude} is not 0 to 30.")

  def fn(image, rng):
    if is_list(image):
      return [fn(i, rng) for i in image]
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or (
        image.ndim not in (3, 4) or image.shape[-1] != 3):
      raise ValueError("randaug needs a uint8 image [H,W,3]; put it after decode and before "
                       "value_range.")
    for _ in range(num_layers):
      name = NAMES[rng.integers(len(NAMES))]
      sign = 1 if rng.integers(2) else -1
      centre = rng.integers(image.shape[-3:-1])
      change = functools.partial(augment, name=name, magnitude=magnitude, sign=sign, centre=centre)
      image = change(image) if image.ndim == 3 else np.stack([change(i) for i in image])
    return image
  return fn


def augment(image, name, magnitude, sign=1, centre=None):
  """uint8 [H,W,3]: the image after the change `name`.

  sign: 1 or -1, of changes that a coin negates. centre: (row, column) of Cutout.
  """
  m = magnitude / 10
  if name in GEOMETRIC:
    return _warp(image, GEOMETRIC[name](sign * m, *image.shape[:2]))
  if name in DEGENERATE:
    return _blend(DEGENERATE[name](image), image, 1.8 * m + 0.1)
  if name == "Cutout":
    half, result = int(CUTOUT * m), image.copy()
    (top, left), (bottom, right) = np.maximum(centre - half, 0), centre + half
    result[top:bottom, left:right] = GRAY
    return result
  return LEVELS[name](image, m)


def _warp(image, matrix):
  """Pixel (x, y) is that of the input at matrix @ (x, y, 1), the nearest, or GRAY outside."""
  height, width = image.shape[:2]
  y, x = np.mgrid[:height, :width].astype(np.float32)
  (a, b, c), (d, e, f) = np.float32(matrix)
  # Halves are rounded away from 0, as TensorFlow does.
  columns, rows = (np.trunc(v + np.copysign(np.float32(.5), v)).astype(int)
                   for v in (a * x + b * y + c, d * x + e * y + f))
  inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
  return np.where(inside[..., None], image[rows.clip(0, height - 1), columns.clip(0, width - 1)],
                  np.uint8(GRAY))


def _rotation(m, height, width):
  angle, high, wide = np.float32(np.deg2rad(30 * m)), height - 1, width - 1
  cos, sin = np.cos(angle), np.sin(angle)
  return ((cos, -sin, (wide - (cos * wide - sin * high)) / 2),
          (sin, cos, (high - (sin * wide + cos * high)) / 2))


GEOMETRIC = {  # (m, height, width) -> the matrix of _warp
    "Rotate": _rotation,
    "ShearX": lambda m, *_: ((1, 0.3 * m, 0), (0, 1, 0)),
    "ShearY": lambda m, *_: ((1, 0, 0), (0.3 * m, 1, 0)),
    "TranslateX": lambda m, *_: ((1, 0, TRANSLATE * m), (0, 1, 0)),
    "TranslateY": lambda m, *_: ((1, 0, 0), (0, 1, TRANSLATE * m)),
}


def _blend(from_, to, factor):
  """from_ + factor * (to - from_), truncated to uint8."""
  if factor == 1:
    return to
  from_, to = from_.astype(np.float32), to.astype(np.float32)
  return np.clip(from_ + np.float32(factor) * (to - from_), 0, 255).astype(np.uint8)


def _gray(image):
  gray = (image.astype(np.float32) * np.float32(1 / 255)) @ WEIGHTS
  return np.repeat((gray * np.float32(255.5)).astype(np.uint8)[..., None], 3, -1)


def _blurred(image):
  """The mean of each pixel, weighing 5, and its neighbours; pixels of the border stay."""
  if min(image.shape[:2]) < 3:
    return image
  pixels, total = image.astype(np.float64), 0.
  height, width = image.shape[:2]
  for row, column in np.ndindex(3, 3):
    # As TensorFlow adds up, each product and sum rounded once: where the mean is a whole level, it
    # decides whether truncation takes it to the one below.
    weight = float(np.float32(5 if row == column == 1 else 1) / np.float32(13))
    product = pixels[row:height - 2 + row, column:width - 2 + column] * weight
    total = (total + product).astype(np.float32).astype(np.float64)
  result = image.copy()
  result[1:-1, 1:-1] = np.clip(total, 0, 255)
  return result


DEGENERATE = {  # what the factor leads away from
    "Color": _gray,
    "Contrast": lambda image: np.full_like(image, min(image[..., 0].size / 256, 255)),
    "Brightness": np.zeros_like,
    "Sharpness": _blurred,
}


def _by_channel(fn):
  return lambda image, m: np.stack([fn(image[..., c]) for c in range(3)], -1)


def _autocontrast(channel):
  low, high = np.float32(channel.min()), np.float32(channel.max())
  if low == high:
    return channel
  scale = np.float32(255) / (high - low)
  return np.clip(channel.astype(np.float32) * scale - low * scale, 0, 255).astype(np.uint8)


def _equalize(channel):
  counts = np.bincount(channel.ravel(), minlength=256)
  step = (counts.sum() - counts[counts > 0][-1]) // 255
  if not step:
    return channel
  levels = np.append(0, (np.cumsum(counts) + step // 2) // step)[:256].clip(0, 255)
  return levels[channel].astype(np.uint8)


def _posterize(image, m):
  shift = min(max(8 - int(4 * m), 0), 7)
  return image >> shift << shift


def _solarize_add(image, m):
  added = np.clip(image.astype(int) + int(110 * m), 0, 255).astype(np.uint8)
  return np.where(image < 128, added, image)


LEVELS = {
    "AutoContrast": _by_channel(_autocontrast),
    "Equalize": _by_channel(_equalize),
    "Invert": lambda image, m: 255 - image,
    "Posterize": _posterize,
    "Solarize": lambda image, m: np.where(image < int(256 * m) % 256, image, 255 - image),
    "SolarizeAdd": _solarize_add,
}
NAMES = (*LEVELS, *DEGENERATE, *GEOMETRIC, "Cutout")
