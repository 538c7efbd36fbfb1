"""Decodes encoded images to uint8 [H,W,C], bit for bit as TensorFlow's decode_image.

libjpeg-turbo decodes JPEG with the fast or the accurate DCT; this module converts CMYK itself,
because Pillow decodes it with the accurate DCT only. Pillow decodes PNG, GIF (the first frame), BMP
and WebP.

Decoding drops alpha without blending, keeps the high eight of 16 bits, and ignores the EXIF
orientation unless it is asked for. What follows the end of a JPEG (the video of a phone's motion
photo) and the texts and profiles in a PNG are not read. It refuses a file whose header announces
more pixels than its bytes can hold.
"""

import io
import itertools
import re

import numpy as np
import simplejpeg
from PIL import Image

MAX_PIXELS = 178_956_970  # Pillow's limit: half a GB as RGB, far above any camera
UNSUSPECTED = 1 << 24  # pixels (4096 x 4096) that any file may have, whatever its size
PIXELS_PER_BYTE = 8300  # above that; a one-bit PNG packs at most 8 x 1032, GIF 2731, JPEG 512
MAX_SCANS = 100  # of a progressive JPEG; each goes over all pixels, and encoders write 10
# That Pillow reads one by one before the pixels, in 6 us each; a PNG of 256 MB has 32,000 chunks.
MAX_PARTS = 100_000
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
MODES = {1: "L", 3: "RGB"}
PILLOW_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
ORIENTATION = 0x112  # the EXIF tag
# EXIF orientation: how a viewer turns [H, W, ...]; 5 to 8 exchange height and width.
UPRIGHT = {
    2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1), 6: lambda x: x[::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1), 8: lambda x: x[:, ::-1].swapaxes(0, 1)}
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"  # how they begin
SCAN = b"\xda"
MARKER = re.compile(b"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)  # in JPEG, but for restarts
ASIDE = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # PNG chunks that change no pixel; Pillow limits them
ADOBE = b"\xff\xee\x00\x0eAdobe"  # marks a JPEG with inverted CMYK


def decode_image(image, channels=3, precise=False, exif=False):
  """Returns uint8 [H,W,channels] of an encoded image.

  Args:
    image: encoded bytes, a uint8 array [H,W], [H,W,1], [H,W,3] or [H,W,4], or a PIL image.
    channels: 3, or 1 for gray.
    precise: use the accurate DCT for JPEG.
    exif: turn it upright, as viewers do, where its EXIF orientation says that it is not.

  Raises:
    ValueError: the input is not an image, or it is truncated, corrupt or too large.
  """
  if isinstance(image, np.ndarray) and image.ndim == 0:
    image = image.item()
  if isinstance(image, Image.Image):
    pixels = _from_pillow(image, channels)
  elif isinstance(image, np.ndarray):
    return _from_array(image, channels)
  elif isinstance(image, (bytes, bytearray, memoryview)):
    pixels = _decode_bytes(image := bytes(image), channels, precise)
  else:
    raise ValueError(f"decode needs the encoded bytes of an image, got {type(image).__name__}.")
  turn = exif and UPRIGHT.get(orientation(image))
  return np.ascontiguousarray(turn(pixels)) if turn else pixels


def orientation(image):
  """The EXIF orientation, 1 to 8, of encoded bytes or a PIL image; 1 where there is none."""
  try:
    found = (image if isinstance(image, Image.Image) else open_image(image)).getexif()
    return found.get(ORIENTATION, 1) if found.get(ORIENTATION) in UPRIGHT else 1
  except Exception:  # Pillow's readers raise many kinds; viewers show a picture of broken EXIF
    return 1


def open_image(data, formats=FORMATS):
  """A PIL image of encoded bytes, of which the header is read; raises as Image.open, and ValueError
  for a header that would take minutes."""
  _check_parts(data)
  return Image.open(io.BytesIO(_plain_png(data)), formats=formats)


def _check_parts(data):
  """Raises ValueError for more than MAX_PARTS."""
  of_format = next((f for start, f in PARTS.items() if data.startswith(start)), lambda data: ())
  if next(itertools.islice(of_format(data), MAX_PARTS, None), None) is not None:
    raise ValueError(f"more than {MAX_PARTS:,} parts stand before its pixels (a bomb?)")


def _plain_png(data):
  """A PNG without its texts and profile; other data unchanged."""
  if not data.startswith(PNG):
    return data
  return PNG + b"".join(chunk for chunk in _chunks(data) if chunk[4:8] not in ASIDE)


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
  with open_image(data) as image:
    _check_size(image.height, image.width, data)
    return _from_pillow(image, channels)


def _from_pillow(image, channels):
  image.load()
  image.info.pop("transparency", None)  # otherwise Pillow warns that it drops it
  if image.mode.startswith("I;16") or image.mode == "I" and image.format == "PNG":  # 16-bit gray
    high = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
    return _from_array(high, channels)
  if image.mode not in PILLOW_MODES:
    raise ValueError(f"a PIL image of mode {image.mode!r} has no known range of values: scale it "
                     "to 0..255 and convert it to 'L' or 'RGB'")
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
  _check_parts(data)
  if data.startswith(JPEG) and (scans := sum(m == SCAN for m in _markers(data))) > MAX_SCANS:
    raise ValueError(f"{scans} scans are more than the {MAX_SCANS} allowed in a JPEG (a "
                     "decompression bomb?)")


def _chunks(data):
  """Yields the chunks of a PNG."""
  at = len(PNG)
  while at < len(data):
    end = at + 12 + int.from_bytes(data[at:at + 4])
    yield data[at:end]
    at = end


def _markers(data):
  """Yields the markers of a JPEG up to its end, and a part for each stray byte in its header."""
  at, header = 2, True
  while (found := MARKER.search(data, at)) and found[1] != b"\xd9":
    if header:
      yield from itertools.repeat(b"", found.start() - at)
      header = found[1] != SCAN
    yield found[1]
    at = found.end()
    if found[1] not in b"\x01\xd8":  # these two have no length
      at += int.from_bytes(data[at:at + 2])


def _blocks(data):
  """Yields the blocks of a GIF, and stray bytes, before its first picture."""
  at = 13 + (6 << (data[10] & 7) if data[10:11] > b"\x7f" else 0)  # behind the palette
  while (kind := data[at:at + 1]) and kind not in b",;":
    yield kind
    at += 1
    if kind == b"!":
      at += 1  # the label
      while size := int.from_bytes(data[at:at + 1]):
        yield kind
        at += 1 + size
      at += 1


PARTS = {PNG: _chunks, JPEG: _markers, b"GIF8": _blocks}
