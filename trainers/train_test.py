import jax
import numpy as np
import pytest

from big_vlm import trees
from big_vlm.checkpoints.steps import Checkpoints
from big_vlm.training import setup
from configs import common
from trainers import train

FLAT = dict(decay="constant")


@pytest.fixture
def config():
  config = common.train(total_steps=4)
  config.model.update(img=dict(variant="tiny"), llm=dict(variant="tiny"))
  return config


def test_a_state_comes_back_from_a_checkpoint(config, tmp_path):
  config.optimizer.update(schedule=(("img/.*", FLAT), (".*", None)), ema=0.5)
  s = setup.make(config, jax.devices()[:1])
  names = trees.names(s.shapes)
  assert any(n.startswith("params/llm/") for n in names)
  assert any(n.startswith("opt_state/1/mu/img/") for n in names)
  assert not [n for n in names if n.startswith(("opt_state/", "ema/")) and "llm" in n]
  with Checkpoints(tmp_path) as checkpoints:
    fresh = train.start_or_resume(config, s, checkpoints)
    fresh = fresh.replace(ema=jax.tree.map(lambda x: x + 1, fresh.ema))
    items = train.as_items(fresh, s.optimizer)
    scale = lambda tree: tree["img"]["Transformer"]["encoder_norm"]["scale"]
    assert (scale(items["params"]) == scale(fresh.params) + 1).all()  # the average is handed on
    checkpoints.save(0, items)
  with Checkpoints(tmp_path) as checkpoints:
    restored = train.start_or_resume(config, s, checkpoints)
  assert trees.names(restored) == names
  jax.tree.map(np.testing.assert_array_equal, restored, fresh)


def test_a_lack_of_memory_is_answered_with_the_table(config):
  s = setup.make(config, jax.devices()[:1])
  batch = dict(text=np.zeros((32, 9), np.int32))
  message = (r"(?s)does not fit.*parameters +\d.*optimizer state +\d.*grad_accum_steps=2 "
             ".*tools.plan")
  with jax.set_mesh(s.mesh), pytest.raises(ValueError, match=message):
    with train.explained(s, batch, 1):
      raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12345 bytes.")
  with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
    with train.explained(s, batch, 1):
      raise jax.errors.JaxRuntimeError("INTERNAL: something else")
