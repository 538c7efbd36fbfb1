"""A work folder that big_vision wrote (tests/golden/bv), with moments that are not zero."""
import pathlib
import zipfile

import jax
import numpy as np
import pytest
import tensorstore

from big_vlm import trees
from big_vlm.checkpoints import bv
from big_vlm.formats import bv as formats_bv
from big_vlm.training import setup
from configs import common
from trainers import train

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "bv"


@pytest.fixture
def config(tmp_path):
  zipfile.ZipFile(GOLDEN / "checkpoint.zip").extractall(tmp_path)
  for i, path in enumerate(sorted(tmp_path.glob("*3-tmp/opt~*"))):
    store = tensorstore.open({"driver": "zarr", "kvstore": {"driver": "file", "path": f"{path}/"}},
                             open=True).result()
    store.write(np.asarray(3 if store.rank == 0 else i + 1, store.dtype.numpy_dtype)).result()
  c = common.train(total_steps=10, resume=f"{tmp_path}/checkpoint.bv")
  c.model.update(img=dict(variant="tiny", mlp=24, patch=4), llm=dict(
      variant="tiny", mlp=24, vocab_size=128, kv_heads=1, head_dim=8))
  c.optimizer.schedule = (("img/.*", None), (".*", dict(decay="cosine")))
  return c


def begin(config):
  return train.begin(config, setup.make(config, jax.devices()[:1]))


def test_moments_parameters_and_step_go_on(config, tmp_path, monkeypatch):
  arrays, asked, located = bv.optimizer_arrays(config.resume), [], formats_bv.located
  monkeypatch.setattr(formats_bv, "located", lambda path: asked.append(str(path)) or located(path))
  monkeypatch.setenv("HOME", str(tmp_path))
  config.resume = "~/checkpoint.bv"
  state = begin(config)
  # Its -LAST, which moves on while that training runs, is read once.
  assert [path for path in asked if path.endswith(".bv")] == ["~/checkpoint.bv"]
  assert int(state.step) == 3
  names = trees.names(state.opt_state)
  found = dict(zip(names, jax.tree.leaves(state.opt_state)))
  assert {int(x) for n, x in found.items() if n.endswith("count")} == {3}
  for ours, theirs in (("1/mu", "opt/1/0/1"), ("1/nu", "opt/1/0/2")):
    moments = [n for n in names if n.startswith(ours)]
    assert len(moments) == 9
    for name in moments:
      want = arrays[name.replace(ours, theirs)].read(())
      np.testing.assert_array_equal(found[name], want)
      assert want.min() > 0
  assert np.abs(state.params["llm"]["final_norm"]["scale"]).max() > 0.1


def test_what_trains_differently_is_refused(config):
  config.optimizer.schedule = ((".*", dict(decay="cosine")),)
  with pytest.raises(ValueError, match="(?s)the optimizer state of .*missing: mu/img/"):
    begin(config)
  config.optimizer.name = "lion"
  with pytest.raises(ValueError, match="both optimizers are Adam .* config.init.model="):
    begin(config)
