"""The image and video files of a JSONL: threads read, hash and decode them in full.

Decoders release Python's lock, so that threads use all cores.
"""
import concurrent.futures
import hashlib
import os
from typing import NamedTuple

from big_vlm import files, reporting
from big_vlm.data import download, jsonl
from pp.builder import get_preprocess_fn
from pp.decode import decode_image, open_image, orientation

MOST = {"image": 2**28, "video": jsonl.MAX_FILE}  # bytes
FRAMES = 4  # of a video that are decoded


class ImageCheck(NamedTuple):
  digest: bytes  # of the content; b"" if it cannot be read
  problem: str | None = None  # why it cannot be used
  size: tuple | None = None  # (height, width), of a video's first frame
  orientation: int = 1  # of EXIF; the size is of the picture that was turned upright
  transparent: bool = False  # in part; decoding drops alpha, so that what is beneath it is seen


def named(example):
  """[("image" or "video", name)] of the files of a line; the frames of a video are images."""
  pairs = []
  for field in jsonl.FILES:
    value = example.get(field, [])
    if isinstance(value, list):
      pairs += [("image", name) for name in value]
    else:
      pairs.append(("video" if field == "video" else "image", value))
  return pairs


def read(kind, path):
  """The bytes of the path or URL of an "image" or "video"; OSError for one beyond all sizes."""
  if isinstance(path, str):
    return download.fetch(path, jsonl.MAX_FILE)
  with files.open_regular(path) as file:
    if (size := os.fstat(file.fileno()).st_size) > MOST[kind]:
      raise OSError(f"its {size >> 20:,} MiB are more than the {MOST[kind] >> 20} MiB allowed")
    return file.readall()


def frames(kind, data):
  """[uint8 [H, W, 3]] of an image, or of some frames of a video; ValueError if it is broken."""
  if kind == "video":
    return list(get_preprocess_fn(f"decode_video({FRAMES})")({"video": data})["image"])
  return [decode_image(data, exif=True)]


def transparent(data):
  """Whether an encoded image that can be decoded has pixels that are not opaque."""
  with open_image(data) as image:
    keyed = "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
    return (keyed or image.mode.endswith("A")) and image.convert("RGBA").getextrema()[3][0] < 255


def check_files(wanted, decode=True, name="images"):
  """{(kind, path): ImageCheck} of such pairs, with a progress bar; decode=False: only hashes."""
  def one(pair):
    kind, path = pair
    try:
      data = read(kind, path)
    except OSError as e:
      return pair, ImageCheck(b"", f"cannot read {path}: {e}")
    digest = hashlib.blake2b(data, digest_size=16).digest()
    try:
      size = frames(kind, data)[0].shape[:2] if decode else None
    except ValueError as e:
      return pair, ImageCheck(digest, f"{path}: {e}")
    if not decode or kind == "video":
      return pair, ImageCheck(digest, size=size)
    return pair, ImageCheck(digest, None, size, orientation(data), transparent(data))

  return dict(each(one, list(dict.fromkeys(wanted)), name))


def each(fn, items, name):
  """[fn of each item], by threads, with a progress bar."""
  results, note = [], reporting.counter(name, "files")
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for i in range(0, len(items), 256):  # in parts, so that Ctrl-C is heard
      for result in pool.map(fn, items[i:i + 256]):
        results.append(result)
        note(len(results), len(items))
  return results
