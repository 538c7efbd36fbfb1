"""The files that the lines of a JSONL name: decoded in full by threads, hashed, made thumbnails of.

Decoders work outside of Python's lock, so that threads use all cores.
"""
import concurrent.futures
import hashlib
import os
from typing import NamedTuple

from big_vlm import reporting
from big_vlm.data import download, jsonl
from pp.builder import get_preprocess_fn
from pp.decode import decode_image

FRAMES = 4  # of a video that are decoded


class Seen(NamedTuple):
  digest: bytes  # of the content; b"" if it cannot be read
  problem: str | None = None  # why it cannot be used
  size: tuple | None = None  # (height, width), of a video's first frame


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


def read(path):
  """The bytes of a path or URL."""
  if isinstance(path, str):
    return download.fetch(path, jsonl.MAX_FILE)
  return path.read_bytes()


def frames(kind, data):
  """[uint8 [H, W, 3]] of an image, or of some frames of a video; ValueError if it is broken."""
  if kind == "video":
    return list(get_preprocess_fn(f"decode_video({FRAMES})")({"video": data})["image"])
  return [decode_image(data)]


def look(wanted, decode=True, name="images"):
  """{(kind, path): Seen} of such pairs, with a line of progress; decode=False: only hashed."""
  def one(pair):
    kind, path = pair
    try:
      data = read(path)
    except OSError as e:
      return pair, Seen(b"", f"cannot read {path}: {e}")
    digest = hashlib.blake2b(data, digest_size=16).digest()
    try:
      size = frames(kind, data)[0].shape[:2] if decode else None
    except ValueError as e:
      return pair, Seen(digest, f"{path}: {e}")
    return pair, Seen(digest, size=size)

  return dict(each(one, list(dict.fromkeys(wanted)), name))


def each(fn, items, name):
  """[fn of each item], by threads; a line of progress on a terminal, else one at the end."""
  results, note = [], reporting.counter(name, "files")
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for i in range(0, len(items), 256):  # in parts, so that Ctrl-C is heard
      for result in pool.map(fn, items[i:i + 256]):
        results.append(result)
        note(len(results), len(items))
  return results
