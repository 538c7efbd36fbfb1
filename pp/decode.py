"""Decodes encoded images to uint8 [H,W,C], bit for bit as TensorFlow's decode_image.

libjpeg-turbo decodes JPEG with the fast or the accurate DCT; this module converts CMYK itself,
because Pillow decodes it with the accurate DCT only. Pillow decodes PNG, GIF (the first frame), BMP
and WebP.

Decoding drops alpha without blending, keeps the high eight of 16 bits, and ignores the EXIF
orientation. It refuses a file whose header announces more pixels than its bytes can hold.
"""

import io

import numpy as np
import simplejpeg
from PIL import Image

MAX_PIXELS = 178_956_970  # Pillow's limit: half a GB as RGB, far above any camera
UNSUSPECTED = 1 << 24  # pixels (4096 x 4096) that any file may have, whatever its size
PIXELS_PER_BYTE = 8300  # above that; a one-bit PNG packs at most 8 x 1032, GIF 2731, JPEG 512
MAX_SCANS = 100  # of a progressive JPEG; each goes over all pixels, and encoders write 10
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
MODES = {1: "L", 3: "RGB"}
ADOBE = b"\xff\xee\x00\x0eAdobe"  # marks a JPEG with inverted CMYK


def decode_image(image, channels=3, precise=False):
  """Returns uint8 [H,W,channels] of an encoded image.

  Args:
    image: encoded bytes, a uint8 array [H,W], [H,W,1], [H,W,3] or [H,W,4], or a PIL image.
    channels: 3, or 1 for gray.
    precise: use the accurate DCT for JPEG.

  Raises:
    ValueError: the input is not an image, or it is truncated, corrupt or too large.
  """
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
    reason = str(e) if " " in str(e) else f"{type(e).__name__} {e}"
    if isinstance(e, Image.UnidentifiedImageError):
      reason = f"none of {', '.join(FORMATS)}; it starts with {data[:8]!r}"
    raise ValueError(f"cannot decode image: {len(data)} bytes, {reason}") from e


def _decode_jpeg(data, channels):
  height, width, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
  _check_size(height, width, data)
  try:
    if space in ("CMYK", "YCCK"):
      return _from_cmyk(simplejpeg.decode_jpeg(data, colorspace="CMYK", fastdct=True),
                        ADOBE in data, channels)
    return simplejpeg.decode_jpeg(
        data, colorspace="RGB" if channels == 3 else "GRAY", fastdct=True)
  except ValueError:  # simplejpeg refuses stray bytes, Pillow only missing pixels
    return _decode_by_pillow(data, channels)


def _from_cmyk(inks, inverted, channels):
  light = inks.astype(np.uint16) if inverted else 255 - inks.astype(np.uint16)
  return _from_array((light[..., :3] * light[..., 3:] // 255).astype(np.uint8), channels)


def _decode_by_pillow(data, channels):
  with Image.open(io.BytesIO(data), formats=FORMATS) as image:
    _check_size(image.height, image.width, data)
    return _from_pillow(image, channels)


def _from_pillow(image, channels):
  image.load()
  image.info.pop("transparency", None)  # otherwise Pillow warns that it drops it
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


def _check_size(height, width, data):
  pixels = height * width
  if pixels > MAX_PIXELS or pixels > max(UNSUSPECTED, PIXELS_PER_BYTE * len(data)):
    limit = f"the {MAX_PIXELS:,} allowed" if pixels > MAX_PIXELS else "so few bytes can hold"
    raise ValueError(f"{width}x{height} pixels are more than {limit} (a decompression bomb?); "
                     "scale the file down first")
  if data[:2] == b"\xff\xd8" and (scans := data.count(b"\xff\xda")) > MAX_SCANS:
    raise ValueError(f"{scans} scans are more than the {MAX_SCANS} allowed in a JPEG (a "
                     "decompression bomb?)")
