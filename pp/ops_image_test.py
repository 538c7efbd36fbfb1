import io
import struct
import warnings
import zlib

import jax
import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from pp.builder import get_preprocess_fn
from pp.ops_image import METHODS, decode_image, resize_image


def run(pp, image):
  return get_preprocess_fn(pp)({"image": image})["image"]


def encode(array, format="PNG", mode=None, **kwargs):
  image = Image.fromarray(array)
  buffer = io.BytesIO()
  (image.convert(mode) if mode else image).save(buffer, format, **kwargs)
  return buffer.getvalue()


def png16(array):
  """A 16-bit PNG, gray [H,W] or RGB [H,W,3], written by hand: Pillow cannot write RGB ones."""
  def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
  height, width = array.shape[:2]
  header = struct.pack(">IIBBBBB", width, height, 16, 2 if array.ndim == 3 else 0, 0, 0, 0)
  rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
  return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
          + chunk(b"IEND", b""))


@pytest.fixture
def photo():
  """uint8 [37,53,3], smooth with some noise, odd sizes."""
  y, x = np.mgrid[:37, :53]
  waves = np.stack([128 + 90 * np.sin(x / 9 + c) * np.cos(y / 7) for c in range(3)], -1)
  return (waves + np.random.default_rng(0).integers(-9, 9, waves.shape)).astype(np.uint8)


def gray(array):
  return np.repeat(array[..., None], 3, axis=-1)


def test_lossless_formats_come_back_exactly(photo):
  for format, kwargs in [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})]:
    np.testing.assert_array_equal(run("decode", encode(photo, format, **kwargs)), photo)


def test_gray_alpha_palette_and_bits(photo):
  one = photo[..., 0]
  np.testing.assert_array_equal(run("decode", encode(one)), gray(one))
  np.testing.assert_array_equal(run("decode(channels=1)", encode(one)), one[..., None])
  bits = (one > 128).astype(np.uint8) * 255
  np.testing.assert_array_equal(run("decode", encode(bits, mode="1")), gray(bits))
  few = photo // 128 * 255  # 8 colours: a palette holds them all
  np.testing.assert_array_equal(run("decode", encode(few, mode="P")), few)
  np.testing.assert_array_equal(run("decode", encode(few, mode="P", transparency=b"\0\x80")), few)


def test_alpha_is_dropped_not_blended(photo):
  alpha = np.zeros(photo.shape[:2], np.uint8)
  np.testing.assert_array_equal(run("decode", encode(np.dstack([photo, alpha]))), photo)
  one = photo[..., 0]
  np.testing.assert_array_equal(run("decode", encode(np.dstack([one, alpha]))), gray(one))


def test_16_bits_keep_the_high_byte():
  one = np.array([[0, 255, 256, 0x12FF, 0xFFFF]])
  np.testing.assert_array_equal(run("decode", png16(one)), gray(one // 256))
  colours = np.stack([one, one + 1, 65535 - one], -1) % 65536
  np.testing.assert_array_equal(run("decode", png16(colours)), colours // 256)


def test_gif_gives_its_first_frame():
  frames = [Image.fromarray(np.full((4, 5, 3), v, np.uint8)) for v in (10, 200)]
  buffer = io.BytesIO()
  frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
  np.testing.assert_array_equal(run("decode", buffer.getvalue()), np.full((4, 5, 3), 10))


@pytest.mark.parametrize("kwargs", [{}, {"progressive": True}, {"subsampling": 2}])
def test_jpeg_by_both_transforms(photo, kwargs):
  data = encode(photo, "JPEG", **kwargs)
  pillow = np.array(Image.open(io.BytesIO(data)))
  np.testing.assert_array_equal(run("decode(precise=True)", data), pillow)
  fast = run("decode", data)
  difference = fast.astype(int) - pillow
  assert fast.dtype == np.uint8 and 0 < np.abs(difference).max() <= 8 and difference.mean() < 0


def test_gray_and_cmyk_jpegs(photo):
  got = run("decode", encode(photo[..., 0], "JPEG", quality=95))
  assert got.shape == photo.shape and np.ptp(got, axis=-1).max() == 0
  assert np.abs(got - gray(photo[..., 0]).astype(int)).mean() < 4
  got = run("decode", encode(photo, "JPEG", mode="CMYK", quality=95))
  assert got.shape == photo.shape and np.abs(got - photo.astype(int)).mean() < 8


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_followed_on_demand(photo, format):
  for value in range(10):
    exif = Image.Exif()
    exif[274] = value
    data = encode(photo, format, exif=exif)
    stored = run("decode", data)
    assert stored.shape == photo.shape
    made = Image.fromarray(stored)
    made.getexif()[274] = value
    upright = np.asarray(ImageOps.exif_transpose(made))
    np.testing.assert_array_equal(run("decode(exif=True)", data), upright)
    np.testing.assert_array_equal(run("decode(exif=True)", made), upright)
  broken = encode(photo, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
  np.testing.assert_array_equal(run("decode(exif=True)", broken), run("decode", broken))


def test_what_follows_a_jpeg_is_not_read(photo):
  """A phone's motion photo is a JPEG with a video behind it; MPO, with other photos."""
  data, other = encode(photo, "JPEG"), Image.fromarray(photo[::-1])
  video = np.random.default_rng(0).integers(0, 256, 2**23, np.uint8).tobytes()
  np.testing.assert_array_equal(run("decode", data + video), run("decode", data))
  mpo = encode(photo, "MPO", save_all=True, append_images=[other])
  np.testing.assert_array_equal(run("decode(exif=True)", mpo), run("decode", data))


def test_texts_and_profiles_of_a_png_do_not_matter(photo):
  texts = PngImagePlugin.PngInfo()
  texts.add_itxt("prompt", "x" * 2**22, zip=True)
  texts.add_text("workflow", "y" * 2**22, zip=True)
  data = encode(photo, pnginfo=texts, icc_profile=bytes(2**22))
  np.testing.assert_array_equal(run("decode", data), photo)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "I;16", "I", "F"])
def test_modes_of_pil_are_right_or_refused(mode):
  """A gray of 200, or white; 16 bits are scaled, not clipped."""
  value = np.uint16([[51_400] * 4] * 3) if mode == "I;16" else np.uint8([[200] * 4] * 3)
  image = Image.fromarray(value)
  image = image if mode == "I;16" else image.convert("RGB").convert(mode, dither=0)
  if mode in ("I", "F"):
    with pytest.raises(ValueError, match=f"mode '{mode}' has no known range"):
      run("decode", image)
    return
  for one in [image] if mode in ("PA", "CMYK") else [image, encode_pil(image)]:
    got = run("decode(exif=True)", one)
    want = 255 if mode == "1" else 200  # the web palette of P has 204
    assert got.shape == (3, 4, 3) and np.abs(got.astype(int) - want).max() <= 4


def encode_pil(image, **options):
  data = io.BytesIO()
  image.save(data, "PNG", **options)
  return data.getvalue()


def test_arrays_and_pil_images_are_taken_as_they_are(photo):
  assert run("decode", photo) is photo
  np.testing.assert_array_equal(run("decode", Image.fromarray(photo)), photo)
  np.testing.assert_array_equal(run("decode", photo[..., :1]), gray(photo[..., 0]))
  np.testing.assert_array_equal(run("decode", np.array(encode(photo), object)), photo)
  assert run("decode(channels=1)", photo).shape == (37, 53, 1)


def test_what_cannot_be_decoded_gives_one_clear_error(photo):
  jpeg, png = encode(photo, "JPEG"), encode(photo)
  cut = [data[:n] for data in (jpeg, png) for n in (0, 2, 3, 20, len(data) // 2, len(data) - 40)]
  for data in [*cut, b"<svg/>", jpeg[:3] + b"x" * 99, png.replace(b"IDAT", b"IDOT")]:
    for pp in ("decode", "decode(precise=True)"):
      with pytest.raises(ValueError, match=f"cannot decode image: {len(data)} bytes, ."):
        run(pp, data)


def test_damaged_files_raise_nothing_but_value_error(photo):
  rng = np.random.default_rng(0)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for format in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
      clean = encode(photo, format)
      for _ in range(40):
        data = bytearray(clean)
        data[rng.integers(3, len(data))] = rng.integers(256)
        try:
          assert decode_image(data).dtype == np.uint8
        except ValueError:
          pass


def test_stray_bytes_in_a_jpeg_are_skipped(photo):
  data = encode(photo, "JPEG")
  table = data.index(b"\xff\xdb")
  stray = data[:table] + b"\0\0\0" + data[table:]
  np.testing.assert_array_equal(run("decode", stray), run("decode(precise=True)", data))


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_decompression_bombs_are_refused(format):
  data = encode(np.zeros((8, 8, 3), np.uint8), format)
  if format == "PNG":
    header = struct.pack(">4sIIBBBBB", b"IHDR", 20000, 20000, 8, 2, 0, 0, 0)
    data = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
  else:
    at = data.index(b"\xff\xc0") + 5
    data = data[:at] + struct.pack(">HH", 20000, 20000) + data[at + 4:]
  with pytest.raises(ValueError, match="cannot decode image: .*(pixels|bomb)"):
    run("decode", data)


@pytest.mark.parametrize("image, complaint", [
    ("cat.jpg", "needs the encoded bytes of an image, got str"),
    (np.zeros((4, 4, 3), np.float32), r"got an array float32\[4, 4, 3\]"),
    (np.zeros((4, 4, 2), np.uint8), r"got an array uint8\[4, 4, 2\]"),
])
def test_decode_refuses(image, complaint):
  with pytest.raises(ValueError, match=complaint):
    run("decode", image)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "lanczos3"])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(16, 20), (37, 90), (80, 20), (1, 1)])
def test_resize_equals_jax(photo, size, method, antialias):
  photo = photo.astype(np.float32)
  want = jax.image.resize(
      photo, (*size, 3), {"bicubic": "cubic"}.get(method, method), antialias=antialias)
  got = resize_image(photo, size, method, antialias)
  np.testing.assert_allclose(got, want, atol=0.02)
  assert got.dtype == np.float32


@pytest.mark.parametrize("method, row, size, want", [
    ("bilinear", [10, 20], 4, [10, 12, 17, 20]),  # 10, 12.5, 17.5, 20: truncated
    ("nearest", [10, 20, 30], 2, [10, 30]),  # centres 0.75 and 2.25
    ("area", [10, 20, 30], 2, [13, 26]),  # (10 + 20/2) / 1.5, (20/2 + 30) / 1.5
    ("area", [10, 20], 3, [10, 15, 19]),  # the last is 19.999998 in TensorFlow too
    ("bilinear", [0, 100, 200, 50], 2, [50, 125]),
])
def test_resize_truncates_to_uint8(method, row, size, want):
  image = np.repeat(np.array([row], np.uint8)[..., None], 3, axis=-1)
  got = run(f"resize([1, {size}], method={method!r})", image)
  np.testing.assert_array_equal(got[0, :, 0], want)
  assert got.dtype == np.uint8


def test_bicubic_overshoot_is_clipped():
  edge = np.repeat(np.array([[0, 0, 255, 255]], np.uint8), 4, axis=0)[..., None]
  got = run("resize(16, method='bicubic')", edge)
  assert got.min() == 0 and got.max() == 255 and (np.diff(got[0, :, 0].astype(int)) >= -1).all()
  assert resize_image(edge.astype(np.float32), (16, 16), "bicubic").max() > 255


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("antialias", [False, True])
def test_flat_images_stay_within_one_level(method, antialias):
  got = run(f"resize([5, 31], {method!r}, {antialias})", np.full((13, 9, 3), 127, np.uint8))
  assert got.shape == (5, 31, 3) and set(np.unique(got)) <= {126, 127}
  if method == "bilinear" and not antialias:
    assert (got == 127).all()


def test_the_same_size_is_unchanged(photo):
  assert run("resize([37, 53], antialias=True)", photo) is photo
  assert run("resize(20)", photo).shape == (20, 20, 3)


def test_several_images_of_one_example_become_one_array(photo):
  other = photo[:20, :31, ::-1]
  images = [encode(photo), encode(other, "BMP")]
  decoded = run("decode", images)
  assert [d.shape for d in decoded] == [(37, 53, 3), (20, 31, 3)]
  np.testing.assert_array_equal(decoded[1], other)
  got = run("decode|resize([8, 9], antialias=True)", images)
  assert (got.dtype, got.shape) == (np.uint8, (2, 8, 9, 3))
  for one, image in zip(got, images, strict=True):
    np.testing.assert_array_equal(one, run("decode|resize([8, 9], antialias=True)", image))
  np.testing.assert_array_equal(run("resize([37, 53])", [photo]), photo[None])
  assert run("decode|resize(4)|value_range", images * 2).shape == (4, 4, 4, 3)
  np.testing.assert_array_equal(run("decode|resize([8, 9], antialias=True)",
                                    np.array(images, object)), got)
  frames = np.stack([photo, photo[::-1]])
  np.testing.assert_array_equal(run("decode|resize(4)", frames),
                                run("resize(4)", [photo, photo[::-1]]))
  with pytest.raises(ValueError, match="cannot decode image: 9 bytes"):
    run("decode", [images[0], images[0][:9]])


@pytest.mark.parametrize("pp, complaint", [
    ("resize(0)", "the size 0 is not"),
    ("resize([2.5, 3])", "is not a positive int"),
    ("resize(2, method='linear')", "Unknown resize method 'linear'. Did you mean 'bilinear'"),
    ("decode(channels=4)", "Unknown number of channels 4"),
    ("value_range(in_min=1, in_max=1)", "must differ"),
])
def test_errors_when_building(pp, complaint):
  with pytest.raises(ValueError, match=complaint):
    get_preprocess_fn(pp)


def test_resize_before_decode():
  with pytest.raises(ValueError, match="got bytes; is `decode` before it?"):
    run("resize(2)", b"")


@pytest.mark.parametrize("args, image, want", [
    ("", [0, 127, 255], [-1, -0.00392157, 1]),
    ("0, 1", [0, 51, 255], [0, 0.2, 1]),
    ("0, 1, in_max=100, clip_values=True", [50, 200], [0.5, 1]),
    ("0, 1, in_min=[0, 10], in_max=[10, 20]", [[5, 5], [10, 20]], [[0.5, -0.5], [1, 1]]),
])
def test_value_range(args, image, want):
  got = run(f"value_range({args})", np.array(image, np.uint8))
  np.testing.assert_allclose(got, want, atol=1e-7)
  assert got.dtype == np.float32
