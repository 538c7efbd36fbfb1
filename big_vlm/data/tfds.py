"""Prepared TFDS data sets, read from ArrayRecord without TensorFlow; images stay encoded."""
import importlib
import importlib.util
import os

import numpy as np
import tensorflow_datasets as tfds


def builder(name, data_dir=None):
  """The TFDS builder called name ("digits/small"); our own are in big_vlm/datasets."""
  module = f"big_vlm.datasets.{name.split('/')[0].split(':')[0]}"
  if importlib.util.find_spec(module):
    importlib.import_module(module)  # registers the class with TFDS
  try:
    return tfds.builder(name, data_dir=data_dir, file_format="array_record")
  except (tfds.core.DatasetNotFoundError, tfds.core.registered.DatasetNotFoundError) as e:
    raise ValueError(
        f"There is no TFDS data set {name!r} in {data_dir or 'the default data_dir'} and no "
        f"builder big_vlm/datasets/{name.split('/')[0]}.py.") from e


class Tfds:
  """One split, e.g. Tfds("digits/small", split="train[:90%]", data_dir="data")."""

  def __init__(self, name, split, data_dir=None):
    b = builder(name, data_dir)
    where = f"{name} in {os.path.dirname(str(b.data_dir))}"
    if not b.is_prepared():
      raise FileNotFoundError(
          f"The data set {where} is not prepared. Prepare it with: "
          f"python -m big_vlm.datasets.prepare {name}" + (f" --data_dir {data_dir}" * bool(data_dir)))
    if b.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
      raise ValueError(
          f"The data set {where} is stored as {b.info.file_format.value}, which has no random "
          f"access. Convert it once with: python -m tensorflow_datasets.scripts.convert_format "
          f"--dataset={name} --out_file_format=array_record")
    self.name, self._features = f"{name}/{split}", b.info.features
    self._images = b.as_data_source(split, decoders=_undecoded(b.info.features))

  def __len__(self):
    return len(self._images)

  def __getitem__(self, index):
    example = _columns(self._features, self._images[index])
    return {**example, "_id": f"{self.name}:{index}"}


def _undecoded(features):
  """SkipDecoding for every image and video feature, wherever it is nested."""
  if isinstance(features, (tfds.features.Image, tfds.features.Video)):
    return tfds.decode.SkipDecoding()
  if isinstance(features, tfds.features.Sequence):
    return _undecoded(features.feature)
  if isinstance(features, tfds.features.FeaturesDict):
    found = {k: d for k, f in features.items() if (d := _undecoded(f)) is not None}
    return found or None
  return None


def _columns(feature, value):
  """Sequences as arrays (also empty ones, with their dtype and inner shape), texts as str."""
  if isinstance(feature, tfds.features.FeaturesDict):
    return {k: _columns(feature[k], v) for k, v in value.items()}
  if isinstance(feature, tfds.features.Text):
    return value.decode()
  if not isinstance(feature, tfds.features.Sequence):
    return value
  inner = feature.feature
  if isinstance(inner, tfds.features.FeaturesDict):
    return {k: _columns(tfds.features.Sequence(inner[k]), v) for k, v in value.items()}
  if isinstance(inner, tfds.features.Text):
    return np.array([v.decode() for v in value], object)
  if None in inner.shape or isinstance(inner, tfds.features.Image):
    return list(value)
  return np.asarray(value, inner.np_dtype).reshape(-1, *inner.shape)
