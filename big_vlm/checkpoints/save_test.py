import collections
import os
import time

import numpy as np
import pytest

from big_vlm import files
from big_vlm.checkpoints import load, save
from big_vlm.checkpoints.checkpoint import Checkpoint, LazyArray, from_array
from big_vlm.families import paligemma


@pytest.fixture(scope="module")
def source():
  config = paligemma.config(dict(variant="tiny"), dict(variant="tiny"))
  rng = np.random.default_rng(0)
  leaves = {n: from_array(rng.normal(size=x.shape).astype(np.float32))
            for n, x in paligemma.param_shapes(config).items()}
  return Checkpoint("memory", config, leaves, None)


@pytest.mark.parametrize("format", ["native", "hf", "keras", "npz"])
def test_every_format_reads_back_bit_for_bit(source, tmp_path, format):
  path = save.save(source, tmp_path / "model.npz", format)
  back = load.open_source(path)
  assert back.config == source.config
  assert set(back.leaves) == set(source.leaves)
  for name, leaf in source.leaves.items():
    np.testing.assert_array_equal(back.leaves[name].read(()), leaf.read(()))


def test_what_exists_is_not_overwritten(source, tmp_path):
  (tmp_path / "x.npz").write_text("mine")
  with pytest.raises(FileExistsError, match="x.npz exists already"):
    save.save(source, tmp_path / "x.npz", "npz")
  with pytest.raises(ValueError, match="must end in .npz"):
    save.save(source, tmp_path / "y", "npz")
  with pytest.raises(ValueError, match="'huggingface'"):
    save.save(source, tmp_path / "y", "huggingface")


@pytest.mark.parametrize("format", ["native", "hf", "keras", "npz"])
def test_a_failure_leaves_nothing(source, tmp_path, format):
  def full(index=()):
    raise OSError(28, os.strerror(28))
  leaves = dict(source.leaves)
  last = sorted(leaves)[-1]
  leaves[last] = LazyArray(leaves[last].shape, leaves[last].dtype, full)
  with pytest.raises(OSError, match="No space left on device. Nothing was left there"):
    save.save(Checkpoint("memory", source.config, leaves, None), tmp_path / "x.npz", format)
  assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_before_the_start(source, tmp_path, monkeypatch):
  usage = collections.namedtuple("usage", "total used free")
  monkeypatch.setattr(save.shutil, "disk_usage", lambda path: usage(10, 9, 1))
  with pytest.raises(OSError, match="needs 0.1 GiB and .* has 0.0 GiB free"):
    save.save(source, tmp_path / "deep" / "x", "hf")


@pytest.mark.parametrize("age", [0, 2 * files.LEFT])
def test_what_a_killed_export_left_is_removed_or_named(source, tmp_path, capsys, age):
  left = tmp_path / ".x.npz.partial-ab12"
  (left / "x.npz").mkdir(parents=True)
  for path in (left, left / "x.npz"):
    os.utime(path, (time.time() - age,) * 2)
  save.save(source, tmp_path / "x.npz", "npz")
  assert left.exists() == (not age)
  assert (str(left) in capsys.readouterr().out) == (not age)
