"""Reads prepared TFDS data sets from ArrayRecord, without TensorFlow; images stay encoded."""
import contextlib
import hashlib
import importlib
import importlib.util
import logging
import os
import pkgutil
import re

import numpy as np
from etils import epath, epy

from big_vlm import datasets
from pp.names import near_miss, pick

with epy.lazy_imports(error_callback="pip install 'big_vlm[train]'"):  # slow to import
  import tensorflow_datasets as tfds


# TFDS warns up to ten times that a data set is not prepared yet; our own messages say so once.
logging.getLogger("absl").addFilter(
    lambda record: not record.getMessage().endswith("has no dataset_info.json"))


def builder(name, data_dir=None):
  """Returns the TFDS builder of a name such as "digits/small"; this project's are in datasets/.

  A builder that is not prepared yet will write ArrayRecord.

  Raises:
    ValueError: the name is unknown, or the data set is stored without random access.
  """
  own = name.split("/")[0].split(":")[0]
  if own.isidentifier() and importlib.util.find_spec(f"big_vlm.datasets.{own}"):
    importlib.import_module(f"big_vlm.datasets.{own}")  # registers the class with TFDS
  try:
    with _known_features():
      b = tfds.builder(name, data_dir=data_dir)
  except (tfds.core.DatasetNotFoundError, tfds.core.registered.DatasetNotFoundError) as e:
    ours = [m.name for m in pkgutil.iter_modules(datasets.__path__) if "test" not in m.name]
    raise ValueError(
        f"There is no TFDS data set {name!r} in {data_dir or 'the default data_dir'} and no "
        f"builder big_vlm/datasets/{own}.py.{near_miss(own, ours)}") from e
  except ValueError as e:
    if not (config := re.search("BuilderConfig (.*) not found", str(e))):
      raise
    known, config = tfds.builder_cls(own).builder_configs, config[1].split(" ")[0]
    raise ValueError(f"The data set {own} has no config {config!r}.{near_miss(config, known)} It "
                     f"has {', '.join(known)}.") from e
  if not b.is_prepared():
    b.info.set_file_format("array_record", override=True)
  elif not b.info.available_file_formats() & tfds.core.FileFormat.with_random_access():
    raise ValueError(
        f"The data set {name} in {b.data_dir} is stored as {b.info.file_format.value}, which does "
        "not have random access. Convert it once, where TensorFlow is installed, with: python -m "
        f"tensorflow_datasets.scripts.convert_format --dataset_version_dir={b.data_dir} "
        "--out_file_format=array_record")
  return b


@contextlib.contextmanager
def _known_features():
  """Prepared data name the classes of their features: TFDS's own are read. It would import and so
  run any module that a features.json names."""
  base = tfds.features.FeatureConnector
  known = {f"{c.__module__}.{c.__name__}": c for c in vars(tfds.features).values()
           if isinstance(c, type) and issubclass(c, base)}
  was = vars(base)["cls_from_name"]
  base.cls_from_name = staticmethod(lambda name: pick(known, name, "class of TFDS features"))
  try:
    yield
  finally:
    base.cls_from_name = was


class Tfds:
  """One split, e.g. Tfds("digits/small", split="train[:90%]", data_dir="data")."""

  def __init__(self, name, split, data_dir=None):
    b = builder(name, data_dir)
    if not b.is_prepared():
      where = f" --data_dir {data_dir}" if data_dir else ""
      raise FileNotFoundError(
          f"The data set {name} is not prepared in {os.path.dirname(str(b.data_dir))}. Prepare it "
          f"with: python -m big_vlm.datasets.prepare {name}{where}")
    if not b.info.splits[split].num_examples:
      raise ValueError(f"The split {split!r} of the data set {name} has no examples.")
    self.name, self._features = f"{name}/{split}", b.info.features
    self._folder = epath.Path(b.data_dir)
    self._images = b.as_data_source(split, decoders=_undecoded(b.info.features))

  def __len__(self):
    return len(self._images)

  def __getitem__(self, index):
    if not 0 <= index < len(self):
      raise IndexError(f"{self.name} has {len(self)} examples: there is no {index}.")
    try:
      example = _columns(self._features, self._images[index])
    except Exception as e:  # ArrayRecord's RuntimeError, protobuf's DecodeError, ... of damage
      raise OSError(f"{self.name}:{index} cannot be read from {self._folder}, a shard of it is "
                    f"damaged: {e}. Prepare the data set again, or set on_error='skip'.") from e
    return {**example, "_id": f"{self.name}:{index}"}

  def class_names(self, key):
    """[name] of the classes whose numbers are under a key, "objects/label"; None for no names."""
    feature = self._features
    for part in key.split("/"):
      feature = getattr(feature, "feature", feature)  # of a sequence
      if not isinstance(feature, tfds.features.FeaturesDict) or part not in feature.keys():
        return None
      feature = feature[part]
    return getattr(getattr(feature, "feature", feature), "names", None)

  def fingerprint(self):
    """SHA-256 of what the folder says of the data set: version, features, sizes of its shards."""
    found = hashlib.sha256()
    for name in ("dataset_info.json", "features.json"):
      path = self._folder / name
      found.update(path.read_bytes() if path.exists() else b"")
    return found.hexdigest()


def _skip_decoding():
  """SkipDecoding that also works in a sequence, where TFDS's own needs TensorFlow."""
  class SkipDecoding(tfds.decode.SkipDecoding):  # here: TFDS is imported on first use
    def decode_batch_example_np(self, examples):
      return list(examples)
  return SkipDecoding()


def _undecoded(features):
  """SkipDecoding for every image and video feature at any depth; None if there is none."""
  if isinstance(features, (tfds.features.Image, tfds.features.Video)):
    return _skip_decoding()
  if isinstance(features, tfds.features.Sequence):
    return _undecoded(features.feature)
  if isinstance(features, tfds.features.FeaturesDict):
    found = {k: d for k, f in features.items() if (d := _undecoded(f)) is not None}
    return found or None
  return None


def _columns(feature, value):
  """Decodes texts to str and sequences to arrays; empty ones keep their dtype and inner shape."""
  if isinstance(feature, tfds.features.FeaturesDict):
    return {k: _columns(feature[k], v) for k, v in value.items()}
  if isinstance(feature, tfds.features.Text):
    return value.decode()
  if not isinstance(feature, tfds.features.Sequence):
    return value
  inner = feature.feature
  if isinstance(inner, tfds.features.FeaturesDict):
    return {k: _aligned(_columns(tfds.features.Sequence(inner[k]), v)) for k, v in value.items()}
  if isinstance(inner, tfds.features.Sequence):  # lengths differ: a list of columns
    if isinstance(inner.feature, tfds.features.FeaturesDict):
      return {k: _aligned(_columns(_twice(inner.feature[k]), v)) for k, v in value.items()}
    return [_columns(inner, v) for v in value]
  if isinstance(inner, tfds.features.Text):
    return np.array([v.decode() for v in value], object)
  if None in inner.shape or isinstance(inner, tfds.features.Image):
    return list(value)
  return np.asarray(value, inner.np_dtype).reshape(-1, *inner.shape)


def _aligned(column):
  """A list as an array of objects: images, or columns of different lengths."""
  if not isinstance(column, list):
    return column
  array = np.empty(len(column), object)
  for i, value in enumerate(column):
    array[i] = value
  return array


def _twice(feature):
  return tfds.features.Sequence(tfds.features.Sequence(feature))
