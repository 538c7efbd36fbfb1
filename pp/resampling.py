"""Resizes images as tf.image.resize: half-pixel centres, float32, the aspect ratio not kept.

A resize multiplies by two sparse matrices, rows first. Row i of a matrix holds the weights of the
few pixels that output i depends on. Without antialias the kernel has a fixed width, and a much
smaller image skips pixels. With antialias the kernel widens by the factor of the reduction. The
methods "nearest" and "area" ignore antialias.

Pillow's 8-bit resize gives other pixels.
"""

import functools
from typing import NamedTuple

import numpy as np
from etils import epy

from pp.names import pick

with epy.lazy_imports():  # slow to import
  import scipy.sparse

ROWS = 64  # of the result at a time; of a photograph they fit into a core's cache
BLOCK = 1 << 22  # floats of the image at a time; of a huge image they are fewer rows


class Kernel(NamedTuple):
  """A weight as a function of the distance in pixels; it is 0 from the radius on."""
  weight: object
  radius: float
  keeps: bool = True  # resizing to the same size keeps every bit


def resize_image(image, size, method="bilinear", antialias=False):
  """Resizes an array [H,W,C] to [height,width,C] of the same dtype; size is (height, width).

  The result is clipped and cast to that dtype; for integers the cast truncates.

  Raises:
    ValueError: `image` is not an array [H,W,C], or the method is unknown.
  """
  if not isinstance(image, np.ndarray) or image.ndim != 3 or 0 in image.shape:
    got = f"shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise ValueError(f"resize needs an array [H,W,C], got {got}; is `decode` before it?")
  size = tuple(size)
  kernel = pick(METHODS, method, "resize method")
  if image.shape[:2] == size and (not isinstance(kernel, Kernel) or kernel.keeps):
    return image
  if method == "nearest":
    return _nearest(image, size)
  if method == "bilinear" and not antialias:
    return _bilinear(image, size)
  if method == "area":
    return _area(image, size)
  return _by_weights(image, size, method, antialias)


def _cast(values, dtype):
  """Casts float32 to dtype; for integers clips (in place) and truncates."""
  if np.issubdtype(dtype, np.integer):
    limits = np.iinfo(dtype)
    np.clip(values, limits.min, limits.max, out=values)
  return values.astype(dtype, copy=False)


def _nearest(image, size):
  rows, columns = [
      np.minimum(((np.arange(out, dtype=np.float32) + np.float32(0.5)) * np.float32(n / out)
                  ).astype(int), n - 1)
      for out, n in zip(size, image.shape)]
  flat = image.take(rows, axis=0).reshape(len(rows), -1)
  return flat.take(_by_channel(columns, image), axis=1).reshape(*size, image.shape[2])


def _bilinear(image, size):
  """a + (b - a) * t along x, then y: TensorFlow's order, which is exact on flat areas."""
  low, high, t = _neighbours(image.shape[1], size[1])
  flat, channels = image.reshape(image.shape[0], -1), image.shape[2]
  left = flat.take(_by_channel(low, image), axis=1).astype(np.float32)
  wide = flat.take(_by_channel(high, image), axis=1).astype(np.float32)
  wide -= left
  wide *= np.repeat(t, channels)
  wide += left
  low, high, t = _neighbours(image.shape[0], size[0])
  top, result = wide[low], wide[high]
  result -= top
  result *= t[:, None]
  result += top
  return _cast(result, image.dtype).reshape(*size, channels)


def _area(image, size):
  """Columns first, one division at the end: TensorFlow's order for this method."""
  scale = np.float32(image.shape[1] / size[1]) * np.float32(image.shape[0] / size[0])
  turned = _by_weights(image.swapaxes(0, 1), size[::-1], "area", False, 1 / scale)
  return np.ascontiguousarray(turned.swapaxes(0, 1))


def _by_channel(columns, image):
  """Columns of [H,W,C] -> columns of [H,W*C]; take is faster on flat rows."""
  return (columns[:, None] * image.shape[2] + np.arange(image.shape[2])).ravel()


@functools.lru_cache(maxsize=256)
def _neighbours(n, out):
  """For each of `out` samples: the pixels of n before and after it, and its place between them."""
  at = (np.arange(out, dtype=np.float32) + np.float32(0.5)) * np.float32(n / out) - np.float32(0.5)
  low = np.floor(at)
  return (np.maximum(low, 0).astype(int), np.minimum(np.ceil(at), n - 1).astype(int),
          (at - low).astype(np.float32))


def _by_weights(image, size, method, antialias, scale=None):
  """Multiplies [H,W,C] by the matrices of both sides, rows first, and by scale: [height,width,C].

  It computes some rows of the result at a time: their data stay in the cache, while a huge image
  as floats would take gigabytes.
  """
  (high, wide, channels), result = image.shape, np.empty((*size, image.shape[2]), image.dtype)
  rows = int(np.clip(BLOCK * size[0] / (high * wide * channels), 1, ROWS))
  columns = _weights(method, wide, size[1], antialias)
  for begin, end, first, last, matrix in _blocks(method, high, size[0], antialias, rows):
    part = image[first:last].reshape(last - first, -1).astype(np.float32)
    short = (matrix @ part).reshape(end - begin, wide, channels)
    # [W,C,rows], filled channel by channel, which is faster than pixel by pixel.
    turned = np.empty((wide, channels, end - begin), np.float32)
    for c in range(channels):
      turned[:, c] = short[..., c].T
    narrow = columns @ turned.reshape(wide, -1)
    if scale is not None:
      narrow *= scale
    narrow = _cast(narrow, image.dtype).reshape(size[1], channels, end - begin)
    result[begin:end] = narrow.transpose(2, 0, 1)
  return result


@functools.lru_cache(maxsize=256)
def _blocks(method, n, out, antialias, rows):
  """[(begin, end, first, last, matrix)]; the matrix maps pixels first:last to samples begin:end."""
  weights, blocks = _weights(method, n, out, antialias), []
  for begin in range(0, out, rows):
    end = min(begin + rows, out)
    part = weights[begin:end]
    first, last = int(part.indices.min()), int(part.indices.max()) + 1
    matrix = scipy.sparse.csr_array((part.data, part.indices - first, part.indptr),
                                    shape=(end - begin, last - first))
    blocks.append((begin, end, first, last, matrix))
  return blocks


@functools.lru_cache(maxsize=256)
def _weights(method, n, out, antialias):
  """Sparse float32 [out, n], the weights of n pixels in each of `out` samples.

  This and the functions below compute in float32 and in TensorFlow's order, so that they round as
  TensorFlow: on flat areas rounding decides whether 127 stays 127 or is truncated to 126.
  """
  if method == "area":
    pixels, weights = _area_taps(n, out)
  elif method == "bicubic" and not antialias:
    pixels, weights = _table_taps(n, out)
  else:
    pixels, weights = _kernel_taps(METHODS[method], n, out, antialias)
  ends = np.arange(out + 1) * pixels.shape[1]
  matrix = scipy.sparse.csr_array(
      (weights.ravel(), np.clip(pixels, 0, n - 1).ravel(), ends), shape=(out, n))
  matrix.eliminate_zeros()  # with antialias two fifths: of pixels just beyond the kernel
  return matrix


def _kernel_taps(kernel, n, out, antialias):
  """(pixels, weights), both [out, taps], of a kernel around the centre of each sample."""
  step = 1 / (np.float32(out) / np.float32(n))
  scale = max(step, np.float32(1)) if antialias else np.float32(1)
  centre = (np.arange(out, dtype=np.float32)[:, None] + np.float32(0.5)) * step
  reach = int(np.ceil(kernel.radius * scale))
  pixels = np.floor(centre).astype(int) + np.arange(-reach - 1, reach + 1)
  distance = np.abs((pixels.astype(np.float32) + np.float32(0.5) - centre) * (1 / scale))
  inside = (distance < kernel.radius) & (pixels >= 0) & (pixels < n)
  return pixels, _normalised(np.where(inside, kernel.weight(distance), 0))


def _normalised(weights):
  weights = weights.astype(np.float32)
  return weights * (1 / np.cumsum(weights, axis=1)[:, -1:])  # cumsum adds from left to right


def _table_taps(n, out):
  """Taps of bicubic without antialias, whose weights TensorFlow tabulates at 1024ths of a pixel."""
  at = (np.arange(out, dtype=np.float32)[:, None] + np.float32(0.5)) * np.float32(n / out)
  at -= np.float32(0.5)
  pixel = np.floor(at)
  fraction = np.round((at - pixel) * 1024).astype(np.float64) / 1024
  offsets = np.arange(-1, 3)
  pixels = (pixel + offsets).astype(int)
  weights = _cubic(np.abs(offsets - fraction))
  return pixels, _normalised(np.where((pixels >= 0) & (pixels < n), weights, 0))


def _area_taps(n, out):
  """Taps whose weights are the area that an input pixel has in common with an output pixel."""
  scale = np.float32(n / out)
  begin = np.arange(out, dtype=np.float32)[:, None] * scale
  end = np.arange(1, out + 1, dtype=np.float32)[:, None] * scale
  pixels = np.floor(begin).astype(int) + np.arange(int(np.ceil(n / out)) + 2)
  left = pixels.astype(np.float32)
  over = left + 1 > end
  covered = np.where(left < begin, np.where(over, scale, left + 1 - begin),
                     np.where(over, end - left, np.float32(1)))
  return pixels, np.where(left < np.ceil(end), covered, np.float32(0))


def _cubic(x):
  """Keys' cubic convolution with a = -1/2."""
  near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
  return np.where(x < 1, near, np.where(x < 2, far, np.float32(0)))


def _mitchell(x):
  """Mitchell and Netravali's cubic with B = C = 1/3."""
  f = lambda numerator, by: np.float32(numerator) / np.float32(by)
  near = (f(7, 6) * x - 2) * x * x + f(8, 9)
  far = ((f(-7, 18) * x + 2) * x - f(10, 3)) * x + f(16, 9)
  return np.where(x < 1, near, far)


def _gaussian(x):
  """A Gaussian of standard deviation 1/2."""
  return np.exp((-x * x).astype(np.float64) / 0.5)


def _lanczos(radius):
  def weight(x):
    pi = np.float32(np.pi)
    sine = lambda angle: np.sin(angle.astype(np.float64)).astype(np.float32)
    at = np.maximum(x, np.float32(1e-3))
    value = radius * sine(pi * at) * sine(pi * at / radius) / (pi * pi * at * at)
    return np.where(x <= 1e-3, np.float32(1), value)
  return Kernel(weight, radius, keeps=False)  # the sines of pi are not quite 0


METHODS = {
    "bilinear": Kernel(lambda x: 1 - x, 1),
    "bicubic": Kernel(_cubic, 2),
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
    "gaussian": Kernel(_gaussian, 1.5, keeps=False),
    "mitchellcubic": Kernel(_mitchell, 2, keeps=False),
    "area": None,
    "nearest": None,
}
