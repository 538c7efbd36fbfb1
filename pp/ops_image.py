"""Ops on images: encoded bytes -> uint8 [H,W,C] -> resized -> floats. The default key is "image".

decode and resize give the pixels of TensorFlow's decode_image and tf.image.resize: what the
released models were trained on. Both work on uint8, and resize truncates to it, never rounds.
"""

import functools
import io

import numpy as np
import simplejpeg
from PIL import Image

from pp.registry import OPS, keyed, pick

MAX_PIXELS = 178_956_970  # Pillow's limit too: half a GB as RGB, far above any camera
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
MODES = {1: "L", 3: "RGB"}


def _each(fn, join=list):
  """fn of one image; for a list, the several images of one example, join([fn of each])."""
  return lambda image: join([fn(i) for i in image]) if isinstance(image, list) else fn(image)


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
  return _each(lambda image: decode_image(image, channels, precise))


def decode_image(image, channels=3, precise=False):
  """What the op `decode` does, as a function."""
  if isinstance(image, np.ndarray) and image.ndim == 0:
    image = image.item()
  if isinstance(image, Image.Image):
    return _from_pillow(image, channels)
  if isinstance(image, np.ndarray):
    return _from_array(image, channels)
  if isinstance(image, (bytes, bytearray, memoryview)):
    return _decode_bytes(bytes(image), channels, precise)
  raise ValueError(f"decode needs the encoded bytes of an image, got {type(image).__name__}.")


def _decode_bytes(data, channels, precise):
  try:
    if data[:3] == b"\xff\xd8\xff" and not precise:
      return _decode_jpeg(data, channels)
    return _decode_by_pillow(data, channels)
  except Exception as e:  # Pillow's readers raise many kinds: OSError, SyntaxError, struct.error
    reason = str(e) or type(e).__name__
    if isinstance(e, Image.UnidentifiedImageError):
      reason = f"none of {', '.join(FORMATS)}; it starts with {data[:8]!r}"
    raise ValueError(f"cannot decode image: {len(data)} bytes, {reason}") from e


def _decode_jpeg(data, channels):
  height, width, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
  _check_size(height, width)
  if space in ("CMYK", "YCCK"):
    return _decode_by_pillow(data, channels)
  try:
    return simplejpeg.decode_jpeg(
        data, colorspace="RGB" if channels == 3 else "GRAY", fastdct=True)
  except ValueError:  # simplejpeg stops even at stray bytes, Pillow only where pixels are missing
    return _decode_by_pillow(data, channels)


def _decode_by_pillow(data, channels):
  with Image.open(io.BytesIO(data), formats=FORMATS) as image:
    _check_size(image.height, image.width)
    return _from_pillow(image, channels)


def _from_pillow(image, channels):
  image.load()
  image.info.pop("transparency", None)  # Pillow would warn that it is about to be dropped
  if image.mode.startswith("I"):  # 16-bit gray, in any byte order
    high = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
    return _from_array(high, channels)
  array = np.array(image.convert(MODES[channels]))
  return array if channels == 3 else array[..., None]


def _from_array(image, channels):
  if image.ndim == 2:
    image = image[..., None]
  if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
    raise ValueError("decode needs encoded bytes or a uint8 image [H,W,3], got an array "
                     f"{image.dtype}{list(image.shape)}.")
  if image.shape[-1] == channels:
    return image
  if channels == 1:
    return np.array(Image.fromarray(image[..., :3]).convert("L"))[..., None]
  return image[..., :3] if image.shape[-1] == 4 else np.repeat(image, 3, axis=-1)


def _check_size(height, width):
  if height * width > MAX_PIXELS:
    raise ValueError(f"{width}x{height} pixels are more than the {MAX_PIXELS:,} allowed "
                     "(a decompression bomb?); scale the file down first")


@OPS.register("resize")
@keyed("image")
def resize(size, method="bilinear", antialias=False):
  """Resizes [H,W,C] to `size` (int or [height, width]); the aspect ratio is not kept.

  Half-pixel centres, float32 arithmetic; the result is clipped to and cast back to the input's
  dtype, which for uint8 truncates. `antialias` widens the kernel where the image gets smaller;
  "nearest" and "area" have no such choice. An image that has the size already is unchanged.
  A list of N images, of any sizes, becomes one array [N,height,width,C].
  """
  height, width = (size, size) if isinstance(size, int) else size
  if not (isinstance(height, int) and isinstance(width, int) and min(height, width) > 0):
    raise ValueError(f"resize: the size {size!r} is not a positive int or [height, width].")
  pick(METHODS, method, "resize method")
  return _each(lambda image: resize_image(image, (height, width), method, antialias), np.stack)


def resize_image(image, size, method="bilinear", antialias=False):
  """What the op `resize` does, as a function; size is (height, width)."""
  if not isinstance(image, np.ndarray) or image.ndim != 3 or 0 in image.shape:
    got = f"shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise ValueError(f"resize needs an array [H,W,C], got {got}; is `decode` before it?")
  if image.shape[:2] == tuple(size):
    return image
  resized = pick(METHODS, method, "resize method")(image, tuple(size), antialias)
  if np.issubdtype(image.dtype, np.integer):
    limits = np.iinfo(image.dtype)
    resized = np.clip(resized, limits.min, limits.max)
  return resized.astype(image.dtype)


def _nearest(image, size, _):
  rows, columns = [
      np.minimum(((np.arange(out) + 0.5) * (n / out)).astype(int), n - 1)
      for out, n in zip(size, image.shape)]
  return image[rows[:, None], columns]


def _bilinear(image, size, antialias):
  if antialias:
    return _by_pillow(image, size, Image.Resampling.BILINEAR)
  # a + (b - a) * t along x, then y: TensorFlow's order, and exact where the image is flat.
  low, high, t = _neighbours(image.shape[1], size[1])
  left, right = image[:, low].astype(np.float32), image[:, high].astype(np.float32)
  image = left + (right - left) * t[:, None]
  low, high, t = _neighbours(image.shape[0], size[0])
  return image[low] + (image[high] - image[low]) * t[:, None, None]


@functools.lru_cache(maxsize=256)
def _neighbours(n, out):
  """For each of `out` samples over n pixels: the pixel below, the one above, the way between."""
  at = (np.arange(out, dtype=np.float32) + np.float32(0.5)) * np.float32(n / out) - np.float32(0.5)
  low = np.floor(at)
  return (np.maximum(low, 0).astype(int), np.minimum(np.ceil(at), n - 1).astype(int),
          (at - low).astype(np.float32))


def _by_pillow(image, size, kernel):
  """Pillow's antialiased resize, by channel in its float mode; the 8-bit one rounds twice."""
  channels = [
      Image.fromarray(np.ascontiguousarray(image[..., c], np.float32)).resize(size[::-1], kernel)
      for c in range(image.shape[-1])]
  return np.stack([np.asarray(c) for c in channels], axis=-1)


def _bicubic(image, size, antialias):
  if antialias:
    return _by_pillow(image, size, Image.Resampling.BICUBIC)
  return _by_weights(image, size, _cubic_weights)


def _lanczos3(image, size, antialias):
  if antialias:
    return _by_pillow(image, size, Image.Resampling.LANCZOS)
  return _by_weights(image, size, _lanczos3_weights)


def _area(image, size, _):
  return _by_weights(image, size, _area_weights)


def _by_weights(image, size, weights):
  """Separable resize by two dense matrices [out, in]; rows first."""
  image = image.astype(np.float32)
  image = np.tensordot(weights(image.shape[0], size[0]), image, axes=1)
  return np.tensordot(weights(image.shape[1], size[1]), image, axes=(1, 1)).swapaxes(0, 1)


def _distances(n, out):
  """[out, n]: from each sample to each pixel centre, in pixels of the input."""
  return np.abs((np.arange(out)[:, None] + 0.5) * (n / out) - (np.arange(n) + 0.5))


def _normalised(weights):
  return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@functools.lru_cache(maxsize=32)
def _cubic_weights(n, out):
  """Keys' cubic convolution kernel with a = -1/2."""
  x = _distances(n, out)
  near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
  return _normalised(np.where(x < 1, near, np.where(x < 2, far, 0)))


@functools.lru_cache(maxsize=32)
def _lanczos3_weights(n, out):
  x = _distances(n, out)
  return _normalised(np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0))


@functools.lru_cache(maxsize=32)
def _area_weights(n, out):
  """How much of each output pixel each input pixel covers."""
  start = np.arange(out)[:, None] * (n / out)
  pixel = np.arange(n)
  overlap = np.minimum(start + n / out, pixel + 1) - np.maximum(start, pixel)
  return _normalised(np.maximum(overlap, 0))


METHODS = {"bilinear": _bilinear, "bicubic": _bicubic, "nearest": _nearest, "area": _area,
           "lanczos3": _lanczos3}


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
