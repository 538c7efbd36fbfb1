import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from big_vlm.data import source
from big_vlm.data.tfds import Tfds

PNG = b"\x89PNG\r\n\x1a\n, left encoded: never looked at"


class SequencesForTests(tfds.core.GeneratorBasedBuilder):
  """Every kind of sequence, with 0, 1 and 3 entries."""
  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    f = tfds.features
    return tfds.core.DatasetInfo(builder=self, disable_shuffling=True, features=f.FeaturesDict({
        "text": f.Text(),
        "number": f.Scalar(np.int32),
        "texts": f.Sequence(f.Text()),
        "labels": f.Sequence(f.ClassLabel(num_classes=5)),
        "points": f.Sequence(f.Tensor(shape=(2,), dtype=np.float32)),
        "objects": f.Sequence({"bbox": f.BBoxFeature(), "name": f.Text()}),
        "images": f.Sequence(f.Image(shape=(None, None, 3))),
        "nested": {"deep": f.Sequence(f.Scalar(np.int64)), "image": f.Image()},
    }))

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    for n in (0, 1, 3):
      yield n, {
          "text": "é" * n, "number": n, "texts": ["ü"] * n, "labels": [4] * n,
          "points": [[0.5, n]] * n, "images": [PNG] * n,
          "objects": [{"bbox": tfds.features.BBox(0.0, 0.0, 0.5, 1.0), "name": "cat"}] * n,
          "nested": {"deep": [7] * n, "image": PNG}}


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
  folder = tmp_path_factory.mktemp("sequences")
  SequencesForTests(data_dir=folder, file_format="array_record").download_and_prepare()
  return Tfds("sequences_for_tests", split="train", data_dir=folder)


@pytest.mark.parametrize("index, n", [(0, 0), (1, 1), (2, 3)])
def test_sequences_are_arrays_texts_str_and_images_bytes(sequences, index, n):
  x = sequences[index]
  assert (x["text"], x["number"], x["_id"]) == ("é" * n, n, f"sequences_for_tests/train:{index}")
  for array, dtype, shape in [
      (x["texts"], object, (n,)), (x["labels"], np.int64, (n,)), (x["points"], np.float32, (n, 2)),
      (x["objects"]["bbox"], np.float32, (n, 4)), (x["objects"]["name"], object, (n,)),
      (x["nested"]["deep"], np.int64, (n,))]:
    assert isinstance(array, np.ndarray) and (array.dtype, array.shape) == (dtype, shape)
  assert list(x["texts"]) == ["ü"] * n and list(x["objects"]["name"]) == ["cat"] * n
  assert x["nested"]["image"] == PNG and x["images"] == [PNG] * n


def test_digits(data_dir):
  examples = source.get("digits/tiny", split="train", data_dir=data_dir)
  x = examples[511]
  assert len(examples) == 512 and (x["id"], x["_id"]) == ("train-000511", "digits/tiny/train:511")
  assert x["image"].startswith(b"\x89PNG") and x["captions"]["de"].split()[1].startswith("Ziffer")
  assert x["objects"]["bbox"].shape == (len(x["ocr"]), 4)


@pytest.mark.parametrize("split, size, first", [
    ("train[:10]", 10, "train-000000"), ("train[-1:]", 1, "train-000511"),
    ("train[50%:]", 256, "train-000256"), ("val+test[:1]", 65, "val-000000")])
def test_slices_of_splits(data_dir, split, size, first):
  examples = Tfds("digits/tiny", split=split, data_dir=data_dir)
  assert len(examples) == size
  assert (examples[0]["id"], examples[0]["_id"]) == (first, f"digits/tiny/{split}:0")


def test_not_prepared_names_the_command(tmp_path):
  command = f"python -m big_vlm.datasets.prepare digits/tiny --data_dir {tmp_path}$"
  with pytest.raises(FileNotFoundError, match=f"digits/tiny is not prepared in .*: {command}"):
    Tfds("digits/tiny", split="train", data_dir=tmp_path)


@pytest.mark.parametrize("name, split, complaint", [
    ("digitz/tiny", "train", "no TFDS data set 'digitz/tiny' in .* big_vlm/datasets/digitz.py"),
    ("digits/tinny", "train", "no config 'tinny'. Did you mean 'tiny'. It has small, photos"),
    ("okvka", "train", "no builder big_vlm/datasets/okvka.py. Did you mean 'okvqa'"),
    ("../digits", "train", "name"),
    ("a.b/c", "train", "a.b/c"),
    ("digits/tiny", "trian", "Unknown split 'trian'. Should be one of .'train', 'val', 'test'"),
    ("digits/tiny", "train[:", "parsing split"),
    ("digits/tiny", "train[:0]", r"The split 'train\[:0\]' of .* digits/tiny has no examples"),
])
def test_wrong_names_and_splits(data_dir, name, split, complaint):
  with pytest.raises(ValueError, match=complaint):
    Tfds(name, split=split, data_dir=data_dir)


def test_tfrecord_gets_the_command_that_converts(data_dir, tmp_path):
  shutil.copytree(data_dir, tmp_path, dirs_exist_ok=True)
  info = pathlib.Path(tmp_path) / "digits/tiny/1.0.0/dataset_info.json"
  info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
  with pytest.raises(ValueError, match="is stored as tfrecord.*tensorflow_datasets.scripts."
                     f"convert_format --dataset_version_dir={info.parent} --out_file_format=arr"):
    Tfds("digits/tiny", split="train", data_dir=tmp_path)


@pytest.fixture
def copy(data_dir, tmp_path):
  """The folder of digits/tiny in tmp_path as a data set "copied", of which there is no code."""
  folder = tmp_path / "copied/1.0.0"
  shutil.copytree(f"{data_dir}/digits/tiny/1.0.0", folder)
  info = json.loads((folder / "dataset_info.json").read_text())
  del info["configName"]
  (folder / "dataset_info.json").write_text(json.dumps(info | {"name": "copied"}).replace(
      "digits-", "copied-"))
  for path in folder.glob("digits-*"):
    path.rename(path.with_name(path.name.replace("digits-", "copied-")))
  return folder


def test_data_without_code_is_read_and_runs_no_code_of_its_maker(copy, tmp_path, monkeypatch):
  data = Tfds("copied", split="train", data_dir=tmp_path)
  assert data[3]["image"].startswith(b"\x89PNG")
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
  features = (copy / "features.json").read_text()
  (copy / "features.json").write_text(features.replace(
      "tensorflow_datasets.core.features.text_feature.Text", "evil.Text"))
  with pytest.raises(ValueError, match="Unknown class of TFDS features 'evil.Text'"):
    Tfds("copied", split="train", data_dir=tmp_path)
  assert not (tmp_path / "ran").exists()


def test_a_damaged_shard_is_an_error_that_a_run_may_skip(copy, tmp_path):
  data = Tfds("copied", split="train", data_dir=tmp_path)
  before, shard = data.fingerprint(), next(copy.glob("copied-train*"))
  shard.write_bytes(shard.read_bytes()[:9] + bytes(200_000) + shard.read_bytes()[200_009:])
  with pytest.raises(OSError, match=f"copied/train:3 cannot be read from {copy}"):
    data[3]
  assert data.fingerprint() == before
  with pytest.raises(IndexError, match="there is no 10000"):
    data[10_000]
