"""Writes tf_images/*.npz: images decoded, resized, cut and scaled by TensorFlow.

Needs tensorflow, numpy and Pillow. pp/tf_images_test.py reads the files:

  decode.npz   NAME/data: the encoded bytes, uint8 [N]; NAME/image: decode_image(channels=3)
  resize.npz   image: uint8 [13,17,3]; METHOD/ANTIALIAS/HEIGHTxWIDTH: float32; flat/...: uint8
               images of one level, where the truncation that follows the resize shows
  ops.npz      other ops on the same image, by the names of their pp strings
  huge.npz     jpeg: 8000 x 6000, gray, progressive; png: the same as PNG; small: resized to 20 x 24
"""
import io
import pathlib
import struct
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image

FOLDER = pathlib.Path(__file__).with_name("tf_images")
METHODS = ("bilinear", "bicubic", "lanczos3", "lanczos5", "gaussian", "mitchellcubic", "area",
           "nearest")
SIZES = (5, 7), (20, 23), (29, 6), (13, 17), (1, 1)


def photo(height, width, channels=3):
  y, x = np.mgrid[:height, :width]
  waves = [128 + 90 * np.sin(x / (4 + c)) * np.cos(y / 5 + c) for c in range(channels)]
  noise = np.random.default_rng(height).integers(-20, 21, (height, width, channels))
  return np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def encode(array, format, mode=None, **kwargs):
  image = Image.fromarray(array.squeeze() if array.shape[-1] == 1 else array, mode)
  buffer = io.BytesIO()
  image.save(buffer, format, **kwargs)
  return buffer.getvalue()


def png(array, bits, kind):
  """A PNG written by hand: Pillow cannot write 16-bit colour, nor 16-bit gray with alpha."""
  def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
  height, width = array.shape[:2]
  rows = b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in array)
  return (b"\x89PNG\r\n\x1a\n"
          + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
          + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def gif(frames, **kwargs):
  images = [Image.fromarray(f).quantize(64) for f in frames]
  buffer = io.BytesIO()
  images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], **kwargs)
  return buffer.getvalue()


def files():
  """{name: encoded bytes} of every kind that the readers of photographs meet."""
  p, odd, tiny = photo(24, 32), photo(19, 23), photo(1, 1)
  gray, four = p[..., :1], photo(24, 32, 4)
  wide = np.random.default_rng(0).integers(0, 1 << 16, (9, 11, 4))
  result = {
      "jpeg_444": encode(p, "JPEG", quality=90, subsampling=0),
      "jpeg_422": encode(odd, "JPEG", quality=90, subsampling=1),
      "jpeg_420": encode(odd, "JPEG", quality=75, subsampling=2),
      "jpeg_420_even": encode(p, "JPEG", quality=90, subsampling=2),
      "jpeg_low": encode(odd, "JPEG", quality=20),
      "jpeg_progressive": encode(odd, "JPEG", progressive=True),
      "jpeg_progressive_420": encode(photo(33, 39), "JPEG", progressive=True, subsampling=2),
      "jpeg_restart": encode(photo(33, 39), "JPEG", restart_marker_blocks=2),
      "jpeg_gray": encode(gray, "JPEG"),
      "jpeg_cmyk": encode(four, "JPEG", "CMYK", quality=90),
      "jpeg_1x1": encode(tiny, "JPEG"),
      "jpeg_1x40": encode(photo(1, 40), "JPEG"),
      "png": encode(p, "PNG"),
      "png_gray": encode(gray, "PNG"),
      "png_alpha": encode(four, "PNG"),
      "png_gray_alpha": encode(photo(24, 32, 2), "PNG"),
      "png_1x1": encode(tiny, "PNG"),
      "png_16": png(wide[..., :3], 16, 2),
      "png_16_gray": png(wide[..., :1], 16, 0),
      "png_16_alpha": png(wide, 16, 6),
      "png_16_gray_alpha": png(wide[..., :2], 16, 4),
      "gif": gif([p]),
      "gif_odd": gif([odd]),
      "gif_animated": gif([p, p[::-1], p[:, ::-1]]),
      "gif_1x1": gif([tiny]),
      "bmp": encode(odd, "BMP"),
      "bmp_alpha": encode(four, "BMP"),
      "bmp_1x1": encode(tiny, "BMP"),
  }
  small = Image.fromarray(p)
  for name, image, kwargs in [
      ("png_palette", small.quantize(17), {}),
      ("png_palette_transparent", small.quantize(17), {"transparency": 3}),
      ("png_palette_2", small.quantize(4), {"bits": 2}),
      ("png_1_bit", small.convert("1"), {})]:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **kwargs)
    result[name] = buffer.getvalue()
  no_adobe = result["jpeg_cmyk"]
  at = no_adobe.index(b"\xff\xee")
  result["jpeg_cmyk_plain"] = no_adobe[:at] + no_adobe[at + 16:]
  return result


def decoded():
  result = {}
  for name, data in files().items():
    result[f"{name}/data"] = np.frombuffer(data, np.uint8)
    image = tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
    result[f"{name}/image"] = image
  for name in ("jpeg_420", "jpeg_progressive", "png", "jpeg_gray"):
    result[f"{name}/precise"] = tf.io.decode_jpeg(
        result[f"{name}/data"].tobytes(), channels=3, dct_method="INTEGER_ACCURATE").numpy()
    result[f"{name}/gray"] = tf.io.decode_image(
        result[f"{name}/data"].tobytes(), channels=1).numpy()
  return result


def resized(image):
  result = {"image": image}
  for method in METHODS:
    for antialias in (False, True):
      for size in SIZES:
        name = f"{method}/{antialias}/{size[0]}x{size[1]}"
        result[name] = tf.image.resize(image, size, method, antialias=antialias).numpy()
      for level in (127, 254, 255):
        flat = tf.image.resize(np.full((31, 45, 3), level, np.uint8), (11, 70), method,
                               antialias=antialias)
        result[f"flat/{method}/{antialias}/{level}"] = cast(flat)[..., 0]
  return result


def cast(image, dtype=tf.uint8):
  return tf.cast(tf.clip_by_value(image, dtype.min, dtype.max), dtype).numpy()


def by_factor(image, factor, method, antialias):
  size = [int(tf.round(tf.cast(s, tf.float32) * factor)) for s in image.shape[:2]]
  return cast(tf.image.resize(image, size, method, antialias=antialias))


def ops(image):
  height, width = image.shape[:2]
  f = tf.cast(image, tf.float32)
  low, high = tf.constant([0., 10., 20.]), tf.constant([100., 200., 250.])
  boxes = {"0.1,0.2,0.7,0.9": [.1, .2, .7, .9], "0,0,1,1": [0., 0, 1, 1],
           "-0.5,0.5,1.5,0.8": [-.5, .5, 1.5, .8], "0.5,0.5,0.5,0.5": [.5] * 4,
           "0.05,0.3,0.31,0.3": [.05, .3, .31, .3]}
  small = lambda n: tf.cast(n, tf.float32) / tf.cast(min(height, width), tf.float32)
  long = lambda n: tf.cast(n, tf.float32) / tf.cast(max(height, width), tf.float32)
  square = min(height, width)
  result = {
      "value_range": -1 + f / 255 * 2,
      "value_range(0, 1, in_min=[0, 10, 20], in_max=[100, 200, 250], clip_values=True)":
          tf.clip_by_value((f - low) / (high - low), 0, 1),
      "vgg_value_range": (f - 255 * np.float32([.485, .456, .406])) / (
          255 * np.float32([.229, .224, .225])),
      "clip_value_range": (f - np.float32([0.48145466 * 255, 0.4578275 * 255, 0.40821073 * 255]))
          / np.float32([0.26862954 * 255, 0.26130258 * 255, 0.27577711 * 255]),
      "resize_small(7)": by_factor(image, small(7), "area", False),
      "resize_small(30, 'bilinear', antialias=True)": by_factor(image, small(30), "bilinear", True),
      "resize_long(9)": by_factor(image, long(9), "area", True),
      "resize_long(40, 'bicubic')": by_factor(image, long(40), "bicubic", True),
      "central_crop(6)": tf.image.crop_to_bounding_box(
          image, (height - 6) // 2, (width - 6) // 2, 6, 6),
      "central_crop([4, 9])": tf.image.crop_to_bounding_box(
          image, (height - 4) // 2, (width - 9) // 2, 4, 9),
      "central_crop": tf.image.crop_to_bounding_box(
          image, (height - square) // 2, (width - square) // 2, square, square),
      "convert_to_video(3)": tf.pad(image[None], [[0, 2], [0, 0], [0, 0], [0, 0]]),
  }
  for name, box in boxes.items():
    drawn = tf.image.draw_bounding_boxes(f[None], tf.constant([[box]]), tf.constant([[255., 0, 0]]))
    result[f"draw_bbox/{name}"] = drawn[0]
  return {"image": image, **{k: np.asarray(v) for k, v in result.items()}}


def huge():
  y, x = np.arange(6000) // 500, np.arange(8000) // 400
  array = ((7 * x[None] + 11 * y[:, None]) % 200 + 20).astype(np.uint8)
  data = {"jpeg": encode(array, "JPEG", progressive=True), "png": encode(array, "PNG")}
  result = {k: np.frombuffer(v, np.uint8) for k, v in data.items()}
  for name, value in data.items():
    image = tf.io.decode_image(value, channels=3)
    for antialias in (False, True):
      small = tf.image.resize(image, (20, 24), antialias=antialias)
      result[f"{name}/{antialias}"] = cast(small)[..., 0]
  return result


def main():
  FOLDER.mkdir(exist_ok=True)
  image = photo(13, 17)
  for name, arrays in [("decode", decoded()), ("resize", resized(image)), ("ops", ops(image)),
                       ("huge", huge())]:
    np.savez_compressed(FOLDER / f"{name}.npz", **{k.replace("/", "|"): v
                                                   for k, v in arrays.items()})
    print(name, len(arrays), (FOLDER / f"{name}.npz").stat().st_size)


if __name__ == "__main__":
  main()
