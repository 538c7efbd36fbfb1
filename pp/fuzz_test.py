"""Mutated and malicious images: decoded, or refused by an error that names the example."""
import io
import resource
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from pp.builder import PreprocessError, get_preprocess_fn
from pp.decode import decode_image, orientation

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore:Image size:")
EXTREMES = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\xff\xff", b"\xff\xff\0\0", b"\0\1\0\1")
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
MUTANTS = 2000
SECONDS_EACH = 2.0
MEGABYTES = 700  # that all of them may add to the peak; one image of 2^24 pixels is 50 to 150


def photo(side=40):
  y, x = np.mgrid[:side, :side]
  waves = [128 + 90 * np.sin(x / (5 + c)) * np.cos(y / 6) for c in range(3)]
  noise = np.random.default_rng(0).integers(-9, 9, (side, side, 3))
  return (np.stack(waves, -1) + noise).astype(np.uint8)


def encode(array, format, **kwargs):
  buffer = io.BytesIO()
  Image.fromarray(array).save(buffer, format, **kwargs)
  return buffer.getvalue()


def seeds():
  array = photo()
  plain = [encode(array, f) for f in FORMATS]
  return [*plain, encode(array, "JPEG", progressive=True), encode(array, "WEBP", lossless=True),
          encode(array[..., 0], "PNG"), encode(array[:20], "BMP")]


def mutate(data, rng):
  """Some of: bytes replaced, bits flipped, a part cut, doubled, moved or zeroed, extreme fields."""
  data = bytearray(data)
  for _ in range(int(rng.integers(1, 4))):
    # A third of the time in the header, where sizes and counts are, but behind the signature.
    low, high = (0, len(data)) if rng.random() < 0.67 else (min(12, len(data) - 1), 64)
    at, size = int(rng.integers(low, min(high, len(data)))), int(rng.integers(1, 40))
    kind = rng.integers(12)
    if kind < 4:
      data[at] = int(rng.integers(256))
    elif kind < 7:
      data[at] ^= 1 << int(rng.integers(8))
    elif kind == 7:
      del data[at:at + size]
    elif kind == 8:
      data[at:at] = data[at:at + size]
    elif kind == 9:
      data[at:at + size] = bytes(len(data[at:at + size]))
    elif kind == 10:
      data = data[:max(at, 1)]
    else:
      data[at:at + 4] = EXTREMES[rng.integers(len(EXTREMES))]
    data = data or bytearray(b"\0")
  return bytes(data)


def png(width, height, parts, bits=8, kind=2):
  """A PNG of chunks (name, data) with the right checksums, whatever is in them."""
  header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
  chunks = [(b"IHDR", header), *parts, (b"IEND", b"")]
  return b"\x89PNG\r\n\x1a\n" + b"".join(
      struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)


def zeros(head, megabytes):
  """zlib's stream of `head` and so many megabytes of zeros, made without holding them."""
  stream = zlib.compressobj()
  return b"".join([stream.compress(head), *(stream.compress(bytes(1 << 20))
                                            for _ in range(megabytes)), stream.flush()])


def peak_megabytes():
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_mutants_are_decoded_or_refused_by_name():
  rng = np.random.default_rng(0)
  preprocess = get_preprocess_fn("decode|resize(16)")
  originals, decoded, slowest, before = seeds(), 0, 0, peak_megabytes()
  for n in range(MUTANTS):
    data = mutate(originals[n % len(originals)], rng)
    if rng.random() < 0.9 and originals[n % len(originals)][1:4] == b"PNG":
      data = with_checksums(data)
    start = time.perf_counter()
    try:
      image = preprocess({"_id": f"mutant {n}", "image": data})["image"]
      assert image.shape == (16, 16, 3) and image.dtype == np.uint8
      decoded += 1
    except PreprocessError as e:
      assert f"`decode` failed on example mutant {n}: cannot decode image: " in str(e)
    slowest = max(slowest, time.perf_counter() - start)
  assert slowest < SECONDS_EACH
  assert peak_megabytes() - before < MEGABYTES
  assert 0.1 * MUTANTS < decoded < 0.9 * MUTANTS  # or the mutator does too much or too little


def with_checksums(data):
  """A PNG whose checksums are made right again, so that readers look behind them."""
  data, at = bytearray(data), 8
  while at + 12 <= len(data):
    [size] = struct.unpack(">I", data[at:at + 4])
    if at + 12 + size > len(data):
      break
    crc = zlib.crc32(data[at + 4:at + 8 + size])
    data[at + 8 + size:at + 12 + size] = struct.pack(">I", crc)
    at += 12 + size
  return bytes(data)


def sized(format, width, height):
  """A small file whose header claims width x height."""
  data = bytearray(encode(photo(), format))
  if format == "PNG":
    return png(width, height, [(b"IDAT", zlib.compress(bytes(5000)))])
  if format == "JPEG":
    at = data.index(b"\xff\xc0") + 5
    data[at:at + 4] = struct.pack(">HH", height, width)
  elif format == "GIF":
    data[6:10] = struct.pack("<HH", width, height)
    at = data.index(b"\x2c", 13 + 3 * 256)
    data[at + 5:at + 9] = struct.pack("<HH", width, height)
  elif format == "BMP":
    data[18:26] = struct.pack("<ii", width, height)
  else:
    data = bytearray(encode(photo(), format, lossless=True))  # 14 bits each, after the signature
    data[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14 | (data[24] >> 4) << 28)
  return bytes(data)


BOMBS = {f"{f} {side}": sized(f, side, side) for f in FORMATS for side in (9000, 16000)}
BOMBS |= {
    "PNG of 2^31 - 1": png(2**31 - 1, 2**31 - 1, [(b"IDAT", b"x")]),
    "PNG of no height": png(4, 0, [(b"IDAT", zlib.compress(b""))]),
    "BMP of negative width": sized("BMP", -40, 40),
}
CODE = """
import resource, sys
import numpy as np
from pp.decode import decode_image, orientation
data = sys.stdin.buffer.read()
decode_image(open(sys.argv[1], "rb").read())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
  print("decoded", decode_image(data).shape)
except ValueError as e:
  print("refused", e)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name):
  start = time.perf_counter()
  with pytest.raises(ValueError, match="cannot decode image: [0-9]+ bytes, ."):
    decode_image(BOMBS[name])
  assert time.perf_counter() - start < SECONDS_EACH


# Where a header may have more parts, and what goes there: the first, those repeated, the last.
HEADERS = {
    "JPEG": (2, b"", b"\xff\xe5\0\2", b""), "JPEG with stray bytes": (2, b"", b"\xff", b""),
    "JPEG with Exif": (2, b"", b"\xff\xe1\0\x0aExif\0\0MM", b""),
    "PNG": (33, b"", struct.pack(">I4sI", 0, b"abCd", zlib.crc32(b"abCd")), b""),
    "GIF": (781, b"", b"!\xfe\1a\0", b""), "GIF with stray bytes": (781, b"", b"\0", b""),
    "GIF with one comment": (781, b"!\xfe", b"\1a", b"\0")}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_without_end_is_refused(name):
  at, first, part, last = HEADERS[name]
  data = encode(photo(), name.split()[0])
  few, many = (data[:at] + first + part * n + last + data[at:] for n in (9, 200_000))
  np.testing.assert_array_equal(decode_image(few), decode_image(data))
  start = time.perf_counter()
  with pytest.raises(ValueError, match="more than 100,000 parts stand before its pixels"):
    decode_image(many)
  assert orientation(many) == 1 and time.perf_counter() - start < SECONDS_EACH


def test_a_jpeg_of_endless_scans_is_refused():
  data = encode(photo(), "JPEG", progressive=True)
  first = data.index(b"\xff\xda")
  second = data.index(b"\xff\xda", first + 2)
  repeated = data[:second] + data[first:second] * 200 + data[second:]
  with pytest.raises(ValueError, match="21[0-9] scans are more than the 100 allowed"):
    decode_image(repeated)


def test_bombs_take_no_memory(tmp_path):
  (tmp_path / "seed.png").write_bytes(encode(photo(), "PNG"))
  for name in ("PNG 9000", "JPEG 9000", "WEBP 9000"):
    done = subprocess.run([sys.executable, "-c", CODE, str(tmp_path / "seed.png")],
                          input=BOMBS[name], capture_output=True)
    verdict, megabytes = done.stdout.decode().splitlines()
    assert verdict.startswith("refused") and float(megabytes) < 100, (name, done)


def test_a_long_stream_behind_a_small_header_is_not_read():
  image = zeros(b"\0" + bytes(3 * 8), 200)  # one row, then 200 MB
  text = b"k\0\0" + zeros(b"", 200)
  before = peak_megabytes()
  start = time.perf_counter()
  assert decode_image(png(8, 1, [(b"zTXt", text), (b"IDAT", image)])).shape == (1, 8, 3)
  assert time.perf_counter() - start < SECONDS_EACH and peak_megabytes() - before < 50


def test_of_an_animation_only_the_first_frame_is_read():
  frames = [Image.fromarray(photo(200)[..., 0] + np.uint8(n)) for n in range(2)]
  buffer = io.BytesIO()
  frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:] + frames * 30)
  data = buffer.getvalue()
  broken = data[:len(data) // 2] + bytes(len(data) - len(data) // 2)  # behind the first frame
  for animation in (data, broken):
    start = time.perf_counter()
    np.testing.assert_array_equal(decode_image(animation)[..., 0], photo(200)[..., 0])
    assert time.perf_counter() - start < 0.2


def test_large_flat_images_are_no_bombs():
  flat = np.full((5000, 6000), 200, np.uint8)
  for data in (encode(flat, "JPEG"), encode(flat, "PNG"), encode(flat > 0, "PNG")):
    assert len(data) < 600_000
    assert decode_image(data).shape == (5000, 6000, 3)
