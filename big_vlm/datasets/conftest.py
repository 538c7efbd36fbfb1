"""Fixtures for builders: a release of a few files, prepared and read back."""
import gzip
import io
import json

import numpy as np
import pytest
from PIL import Image

from big_vlm.data import tfds
from big_vlm.datasets import prepare


@pytest.fixture
def release(tmp_path):
  """A function: release("okvqa", {"a/b.json": {...}, "c.jpg": b"..."}) -> {split: [example]}.

  The dict is the folder of the release. Bytes and str are written unchanged (".gz" compressed), a
  list under a name that ends in ".jsonl" as one JSON object per line, other values as JSON.
  """
  def make(name, files, **kw):
    raw = tmp_path / "raw"
    for path, content in files.items():
      write(raw / path, content)
    prepare.prepare(name, tmp_path / "data", raw, **{"allow_incomplete": True, **kw})
    builder = tfds.builder(name, tmp_path / "data")
    return {split: list(_all(tfds.Tfds(name, split, tmp_path / "data")))
            for split in builder.info.splits}
  return make


def write(path, content):
  if isinstance(content, list) and path.suffix == ".jsonl":
    content = "\n".join(map(json.dumps, content))
  if not isinstance(content, (bytes, str)):
    content = json.dumps(content)
  if isinstance(content, str):
    content = content.encode()
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _all(source):
  return (source[i] for i in range(len(source)))


@pytest.fixture
def picture():
  """A function that returns the bytes of an image of one colour, which depends on its argument."""
  def make(value=0, format="JPEG", size=(8, 6)):
    out = io.BytesIO()
    colour = tuple(int(c) for c in np.random.default_rng(value).integers(0, 256, 3))
    Image.new("RGB", size, colour).save(out, format)
    return out.getvalue()
  return make
