"""The base class of the builders: from an official dataset release to ArrayRecord.

It needs no TensorFlow. A builder declares its features and splits, and reads the release's files
with two methods:

  records(raw, split)    a list of (key, record) from the annotation files, without any image
  example(raw, record)   the features of one record; an image is the encoded bytes of its file

A key is unique in its split. The builder stores examples in TFDS's own order, by the hash of their
keys, so that a slice such as train[:5%] holds the same examples wherever the set was prepared. It
writes the shards one after the other. After a kill it resumes at the shard where it stopped.
"""
import concurrent.futures
import csv
import hashlib
import io
import json
import os
import pathlib
import shutil
import sys
import time

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import dataset_builder, example_serializer, hashing, utils

from big_vlm import files
from pp.decode import open_image
from pp.foreign import gunzip
from pp.names import pick

SHARD = 4096  # examples
AT_ONCE = 64  # examples that the threads read at a time and hold in memory
THREADS = 4

f = tfds.features
TEXT, TEXTS = f.Text(), f.Sequence(f.Text())
INT, FLOAT, BOOL = (f.Scalar(dtype) for dtype in (np.int64, np.float32, np.bool_))
IMAGE = f.Image(shape=(None, None, 3))  # the bytes of the file, in its own format
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")  # that Pillow may open
VIDEO = f.Scalar(np.object_)  # the bytes of the file
BOX = f.BBoxFeature()  # tfds.features.BBox(ymin, xmin, ymax, xmax) in 0..1
SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP",
              b"RIFF": "WebP"}


class Builder(dataset_builder.FileReaderBuilder, skip_registration=True):
  """Base class. The docstring of a builder's module tells where to get the release, and its files.

  Attributes:
    name: the name in configs, by default that of the module.
    FEATURES: {key: feature}, with the constants above or tfds.features; or {config: features}.
    SPLITS: names of the splits, or {config: names}.
    COUNTS: {split: examples} as published, or {config: {split: examples}}; unknown ones are absent.
    HASHES: {file of the release: its MD5 or SHA-256}, checked before the builder reads anything.
  """
  VERSION = tfds.core.Version("1.0.0")
  FEATURES: dict
  SPLITS: tuple
  COUNTS = {}
  HASHES = {}
  allow_incomplete = False  # accept a release whose counts or hashes are not those published
  only = ()  # prepare these splits only

  def __init_subclass__(cls, **kw):
    if "name" not in cls.__dict__:
      cls.name = cls.__module__.rpartition(".")[2]
    super().__init_subclass__(**kw)

  def records(self, raw, split):
    raise NotImplementedError

  def example(self, raw, record):
    raise NotImplementedError

  def _log_download_bytes(self):
    """TFDS would say "Unknown size" three times; nothing is downloaded."""

  @property
  def about(self):
    """The docstring of the builder's module."""
    return sys.modules[type(self).__module__].__doc__

  @property
  def splits(self):
    """The splits of this config, or those in `only`; ValueError if one does not exist."""
    known = tuple(self._of_config(self.SPLITS))
    for split in self.only:
      pick(dict.fromkeys(known), split, f"split of {self.config_name}")
    return self.only or known

  def _of_config(self, table):
    config = self.builder_config and self.builder_config.name
    return table[config] if config and isinstance(table, dict) and config in table else table

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self, description=self.about,
        features=f.FeaturesDict(self._of_config(self.FEATURES)))

  def _download_and_prepare(self, dl_manager, download_config):
    del dl_manager  # nothing is downloaded
    if not download_config.manual_dir:
      raise ValueError(f"{self.name} is made from the files of its release: give their folder by "
                       f"--manual_dir DIR.\n\n{self.about}")
    raw = Raw(download_config.manual_dir, self)
    if not self.allow_incomplete:
      for file, digest in self.HASHES.items():
        raw.check(file, digest)
    kept = _Kept(self, self._data_dir_root)
    ordered = {split: self._ordered(raw, split) for split in self.splits}
    infos = [self._write(kept, split, records, raw) for split, records in ordered.items()]
    kept.move_to(self.data_path)
    self.info.set_splits(tfds.core.splits.SplitDict(infos))

  def _ordered(self, raw, split):
    """[(key, record)] in TFDS's order."""
    try:
      records = list(self.records(raw, split))
    except (KeyError, IndexError, TypeError) as e:
      raise ValueError(f"{self.name}, {split}: the annotations in {raw.folder} are not laid out as "
                       f"expected, {type(e).__name__}: {e}.") from e
    want = self._of_config(self.COUNTS).get(split)
    if not self.allow_incomplete and want not in (None, len(records)):
      raise ValueError(
          f"{self.name}: the release has {want:,} examples in {split}, {raw.folder} has "
          f"{len(records):,}: the download is incomplete, or it is another release. "
          "--allow_incomplete prepares it all the same.")
    if not records:
      raise ValueError(f"{self.name}: {raw.folder} has no examples of {split}.")
    hasher = hashing.Hasher(split)
    hashed = sorted(((hasher.hash_key(key), i) for i, (key, _) in enumerate(records)))
    for (one, i), (other, j) in zip(hashed, hashed[1:]):
      if one == other:
        raise ValueError(f"{self.name}: the key {records[i][0]!r} is twice in {split}, at "
                         f"records {i} and {j}.")
    return [records[i] for _, i in hashed]

  def _write(self, kept, split, records, raw):
    template = tfds.core.ShardedFileTemplate(
        data_dir=self.data_path, dataset_name=self.name, split=split,
        filetype_suffix="array_record")
    shards = [records[i:i + SHARD] for i in range(0, len(records), SHARD)]
    features = self.info.features
    specs = {key: _Spec.copy_from(spec) for key, spec in
             utils.flatten_nest_dict(features.get_serialized_info()).items()}
    serializer = example_serializer.ExampleSerializer(specs)

    def serialized(item):
      where = f"{self.config_name}, {split}, example {item[0]!r}"
      try:
        example = self.example(raw, item[1])
      except (KeyError, IndexError, TypeError) as e:
        raise ValueError(f"{where}: the release is not laid out as expected, {type(e).__name__}: "
                         f"{e}.") from e
      try:
        return serializer.serialize_example(features.encode_example(example))
      except (KeyError, TypeError, ValueError) as e:
        raise ValueError(f"{where} does not fit the features of the set: {e}") from e
    kept.begin(split, records)
    note = _progress(f"{self.config_name} {split}", len(records))
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
      for i, shard in enumerate(shards):
        name = template.sharded_filepath(shard_index=i, num_shards=len(shards)).name
        if not kept.has(name):
          with kept.shard(name) as write:
            for at in range(0, len(shard), AT_ONCE):
              for data in pool.map(serialized, shard[at:at + AT_ONCE]):
                write(data)
              note(i * SHARD + min(at + AT_ONCE, len(shard)))
    return tfds.core.SplitInfo(name=split, shard_lengths=[len(s) for s in shards],
                               num_bytes=kept.size(split), filename_template=template)

  @property
  def config_name(self):
    """"name/config", or the name alone."""
    return "/".join([self.name, *([self.builder_config.name] if self.builder_config else [])])


class Raw:
  """The folder of a release. The error about a missing file tells where to get the release."""

  def __init__(self, folder, builder):
    self.folder, self._builder = pathlib.Path(folder), builder

  def path(self, name):
    """The path of a file or folder; FileNotFoundError if it does not exist, ValueError for a name
    that leads out of the release, which its annotations may hold."""
    if not (found := self.folder / name).is_dir():
      files.inside(self.folder, str(name))
    elif ".." in (parts := pathlib.PurePath(name)).parts or parts.is_absolute():
      raise ValueError(f"{self.folder}: the folder {str(name)[:200]!r} leads out of the release "
                       "and is refused.")
    if not found.exists():
      raise FileNotFoundError(f"{self._builder.name} needs {found}, which is not there.\n\n"
                              f"{self._builder.about}")
    return found

  def has(self, name):
    return (self.folder / name).exists()

  def glob(self, pattern):
    """Sorted names, relative to the folder, of the files that match; an error if none does."""
    found = sorted(str(p.relative_to(self.folder)) for p in self.folder.glob(pattern))
    if not found:
      raise FileNotFoundError(f"{self._builder.name} needs files {self.folder / pattern}, and "
                              f"there are none.\n\n{self._builder.about}")
    return found

  def stems(self, pattern):
    """{name without folder and suffix: relative name} of the files that match."""
    return {pathlib.PurePath(name).stem: name for name in self.glob(pattern)}

  def bytes(self, name):
    path = self.path(name)
    with files.open_regular(path) as file:
      return gunzip(file, path) if name.endswith(".gz") else file.readall()

  def text(self, name):
    return self.bytes(name).decode("utf-8-sig")

  def json(self, name, **kw):
    """The JSON of a file; `kw` go to json.loads. ValueError if it is not JSON."""
    try:
      return json.loads(self.text(name), **kw)
    except ValueError as e:
      raise ValueError(f"{self.path(name)} is not JSON: {e}.") from e

  def lines(self, name):
    """The list of the JSON objects of a file with one on each line."""
    rows = []
    for n, line in enumerate(self.text(name).split("\n"), 1):
      try:
        rows += [json.loads(line)] if line.strip() else []
      except ValueError as e:
        raise ValueError(f"{self.path(name)}, line {n} is not JSON: {e}.") from e
    return rows

  def each_line(self, name):
    """Yields (offset, JSON object) line by line, for files that would fill the memory."""
    offset = 0
    with self.path(name).open("rb") as file:
      for n, line in enumerate(file, 1):
        try:
          if line.strip():
            yield offset, json.loads(line)
        except ValueError as e:
          raise ValueError(f"{self.path(name)}, line {n} is not JSON: {e}.") from e
        offset += len(line)

  def line_at(self, name, offset):
    """The JSON object of the line at an offset that `each_line` gave."""
    with self.path(name).open("rb") as file:
      file.seek(offset)
      return json.loads(file.readline())

  def table(self, name, delimiter=",", columns=None):
    """Rows of a CSV or TSV file as dicts; the keys are its first line, or `columns`."""
    return list(csv.DictReader(io.StringIO(self.text(name), newline=""), columns,
                               delimiter=delimiter))

  def image(self, name):
    """The bytes of an image file; ValueError if it is not an image."""
    data = self.path(name).read_bytes()
    if not data.startswith(tuple(SIGNATURES)):
      raise ValueError(f"{self.path(name)} ({len(data):,} bytes) is none of "
                       f"{', '.join(SIGNATURES.values())}: it begins with {data[:8]!r}.")
    return data

  def check(self, name, digest):
    """Raises ValueError unless a file has the published MD5 or SHA-256."""
    algorithm = "md5" if len(digest) == 32 else "sha256"
    with self.path(name).open("rb") as file:
      got = hashlib.file_digest(file, algorithm).hexdigest()
    if got != digest:
      raise ValueError(f"{self.path(name)} has the {algorithm.upper()} {got}, the release's has "
                       f"{digest}: download it again, or accept it by --allow_incomplete.")


def box(corners, size):
  """Returns the bounding box of corners, for BOX; corners outside the image move to its border.

  Args:
    corners: x, y, x, y, ... in the units of size.
    size: (width, height) of the image.
  """
  xs, ys = ([min(max(c / side, 0.0), 1.0) for c in corners[i::2]] for i, side in enumerate(size))
  return f.BBox(min(ys), min(xs), max(ys), max(xs))


def image_size(data):
  """(width, height) of the bytes of an image file, from its header."""
  with open_image(data, FORMATS) as image:
    return image.size


def png(image):
  """The bytes of a PNG file of a Pillow image."""
  out = io.BytesIO()
  image.save(out, "PNG")
  return out.getvalue()


def configs(descriptions):
  """BUILDER_CONFIGS of {name: description}."""
  return [tfds.core.BuilderConfig(name=n, description=text) for n, text in descriptions.items()]


class _Spec(tfds.features.TensorInfo):
  """A spec whose `dtype` does not import TensorFlow; TFDS reads it for sequences in sequences."""
  dtype = property(lambda self: self.np_dtype)


class _Kept:
  """Keeps finished shards beside the data set's folder until all of them are written."""

  def __init__(self, builder, root):
    where = builder.config_name.replace("/", "-")
    self._folder = pathlib.Path(root) / f".preparing-{where}-{builder.version}"

  def begin(self, split, records):
    """Deletes the kept shards of a split that were made from other annotations."""
    found = hashlib.sha256()
    for record in records:  # (key, what the annotation files say)
      found.update(f"{record!r}\n".encode("utf-8", "surrogatepass"))
    made_from = found.hexdigest()
    self._folder.mkdir(parents=True, exist_ok=True)
    mark = self._folder / f"{split}.sha256"
    if not (mark.exists() and mark.read_text() == made_from):
      for path in self._shards(split):
        path.unlink()
      mark.write_text(made_from)

  def _shards(self, split):
    return self._folder.glob(f"*-{split}.array_record-*")

  def has(self, name):
    return (self._folder / name).exists()

  def size(self, split):
    return sum(p.stat().st_size for p in self._shards(split))

  def shard(self, name):
    return _Shard(self._folder / name)

  def move_to(self, folder):
    for path in self._folder.glob("*.array_record-*"):
      shutil.move(path, folder / path.name)
    shutil.rmtree(self._folder)


class _Shard:
  """A file of records; it gets its name when it is complete."""

  def __init__(self, path):
    self._path, self._unfinished = path, path.with_name(f"unfinished-{os.getpid()}")

  def __enter__(self):
    self._writer = array_record_module.ArrayRecordWriter(str(self._unfinished), "group_size:1")
    return self._writer.write

  def __exit__(self, error, *_):
    self._writer.close()
    if error is None:
      os.replace(self._unfinished, self._path)
    else:
      self._unfinished.unlink(missing_ok=True)


def _progress(label, total):
  """Returns note(done), which prints a line at most every 10 seconds and when all is done."""
  began = last = time.monotonic()

  def note(done):
    nonlocal last
    now = time.monotonic()
    if done == total or now - last > 10:
      last, rate = now, done / max(now - began, 1e-9)
      print(f"{label}: {done:,}/{total:,} examples, {rate:,.0f}/s, "
            f"{(total - done) / max(rate, 1e-9):,.0f} s left", flush=True)
  return note
