import jax
import numpy as np
import pytest

from big_vlm import trees
from big_vlm.checkpoints import native
from big_vlm.models import paligemma
from configs import common
from trainers import train


@pytest.fixture
def config():
  config = common.train(total_steps=4)
  config.model.update(img=dict(variant="tiny"), llm=dict(variant="tiny"))
  config.optimizer.update(warmup=0, trainable=(("img/.*", True), (".*", False)))
  return config


def test_a_frozen_decoder_has_no_state_and_comes_back_from_a_checkpoint(config, mesh1, tmp_path):
  model = paligemma.PaliGemma(paligemma.config(**config.model.to_dict()))
  optimizer, shardings, shapes = train.plan_state(config, model, mesh1)
  names = trees.names(shapes)
  assert any(n.startswith("params/llm/") for n in names)
  assert any(n.startswith("opt_state/1/mu/img/") for n in names)
  assert not [n for n in names if n.startswith("opt_state/") and "llm" in n]
  with native.Checkpoints(tmp_path) as checkpoints:
    start = lambda: train.start_or_resume(config, model, optimizer, checkpoints, shapes, shardings)
    fresh = start()
    checkpoints.save(0, train.as_items(fresh))
  with native.Checkpoints(tmp_path) as checkpoints:
    restored = start()
  assert trees.names(restored) == names
  jax.tree.map(np.testing.assert_array_equal, restored, fresh)
