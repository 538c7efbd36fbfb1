import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import big_vlm
from big_vlm import config_fields, trees
from big_vlm.adapt import lora
from big_vlm.checkpoints import native
from big_vlm.checkpoints.steps import Checkpoints
from big_vlm.families import paligemma
from big_vlm.training import setup
from configs import common
from pp import names
from trainers import train


@pytest.fixture
def config():
  config = common.train(total_steps=4)
  config.model.update(img=dict(variant="tiny"), llm=dict(variant="tiny"))
  return config


def start(config):
  s = setup.make(config, jax.devices()[:1])
  return s, setup.start(config, s)


def save(config, s, state, folder):
  folder.mkdir()
  train.describe(folder, config, s, {}, 0)
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(0, train.as_items(state, s.optimizer))


def test_what_trains_is_float32_whatever_it_was(config, tmp_path):
  s, state = start(config)
  half = state.replace(params=jax.tree.map(lambda x: x.astype(jnp.bfloat16), state.params))
  save(config, s, half, tmp_path / "half")
  config.init.model, config.model.dtype = str(tmp_path / "half"), "bfloat16"
  s, state = start(config)
  assert s.model.config.llm.dtype == "bfloat16"
  assert {x.dtype for x in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
  jax.tree.map(np.testing.assert_array_equal, setup.parameters(config, s), state.params)
  table = state.params["llm"]["embedder"]["input_embedding"]
  np.testing.assert_array_equal(table, half.params["llm"]["embedder"]["input_embedding"])


@pytest.mark.parametrize("quantize", ["", "int8", "int4"])
def test_adapters_train_and_are_read_back_merged(config, tmp_path, quantize):
  s, base = start(config)
  save(config, s, base, tmp_path / "base")
  config.init.model, config.lora.rank, config.lora.alpha = str(tmp_path / "base"), 2, 8.
  config.quantize = quantize
  s, state = start(config)
  assert {n.rpartition("/")[2] for n in s.optimizer.trainable} == {"lora_a", "lora_b"}
  node = lora.adapters(state.params)["llm/layers/mlp/linear"]
  weight = node.base if not quantize else node.base.q
  assert weight.dtype == (quantize or "float32")
  params = trees.map_with_names(lambda n, x: x + 0.1 if n.endswith("lora_b") else x, state.params)
  save(config, s, state.replace(params=params), tmp_path / "tuned")
  read = big_vlm.from_preset(str(tmp_path / "tuned")).params
  want = lora.adapters(params)["llm/layers/mlp/linear"].merge()
  np.testing.assert_allclose(read["llm"]["layers"]["mlp"]["linear"], want, rtol=1e-5, atol=1e-6)
  assert trees.names(read) == list(paligemma.param_shapes(s.model.config))
  with Checkpoints(tmp_path / "tuned") as checkpoints:
    again = train.start_or_resume(config, s, checkpoints)
  jax.tree.map(np.testing.assert_array_equal, again.params, params)
  assert native.read_model(tmp_path / "tuned")[4] == 4.


def test_adapters_train_with_dropout_the_same_at_the_same_step(config, rng):
  config.lora.rank, config.quantize, config.input.batch_size = 2, "int8", 4
  config.model.llm["remat"] = "full"
  text = rng.integers(4, 120, (4, 9)).astype(np.int32)
  mask = np.tile((np.arange(9) >= 5).astype(np.int32), (4, 1))
  batch = dict(text=text, mask_ar=mask, mask_loss=mask,
               image=rng.integers(0, 256, (4, 16, 16, 3)).astype(np.uint8))
  config.model.img["image_size"] = 16
  losses = []
  for dropout in (0.5, 0.5, 0.):
    config.lora.dropout = dropout
    s, state = start(config)
    state = state.replace(params=trees.map_with_names(  # else B is 0, and nothing is dropped
        lambda n, x: x + 0.1 if n.endswith("lora_b") else x, state.params))
    with jax.set_mesh(s.mesh):
      state, metrics = s.step(state, batch)
    assert metrics["finite"] and metrics["l2_grads"] > 0
    losses.append(float(metrics["loss"]))
  assert losses[0] == losses[1] != losses[2]


def test_what_is_not_loaded_of_a_whole_model_is_not_frozen_at_random(config, tmp_path):
  s, base = start(config)
  save(config, s, base, tmp_path / "base")
  config.init.update(model=str(tmp_path / "base"), dont_load=("img/head/.*",))
  config.optimizer.schedule = (("img/.*", None), (".*", dict(decay="cosine")))
  with pytest.raises(ValueError, match=r"img/head/bias and 1 more would stay random: .*/base has no"
                     " img/head, or init.dont_load names it, and optimizer.schedule freezes it"):
    start(config)


def test_durations_in_epochs_ask_the_sources(config):
  config.total_steps, config.total_epochs = None, 2.
  examples = [dict(prefix="a", suffix="b")] * 48
  config.input.mixture = [dict(data=dict(name="memory", examples=examples), pp="")]
  assert setup.horizon_of(config).total == 48 * 2 / 32


@pytest.mark.parametrize("change,message", [
    (dict(total_steps=None), "give total_steps, total_examples or total_epochs"),
    (dict(total_epochs=1.), "Give either total_steps or total_epochs"),
    (dict(optimizer=dict(warmup=2)), "config.optimizer has no 'warmup'. It takes lr, name"),
    (dict(loss=dict(zloss=2)), "config.loss has no 'zloss'. Did you mean 'z_loss'"),
    (dict(quantize="int8"), "leaves nothing trainable: give config.lora.rank"),
    (dict(grad_accum_steps=5),
     "does not divide over the mesh's 1 devices of data and fsdp times grad_accum_steps=5"),
    (dict(input=dict(batch_size=0)), "config.input.batch_size is 0: give a whole number from 1"),
    (dict(total_steps=1e30), "total_steps=1e.30 are 1e.30 steps: the most are 2,147,483,647"),
    (dict(input=dict(shuffle_buffer_size=50_000)),
     "config.input has no 'shuffle_buffer_size'. Instead of big_vision's .*: nothing: each"),
    (dict(lora=dict(rnk=8)), "config.lora has no 'rnk'. Did you mean 'rank'"),
    (dict(microbatches=5), "config.microbatches is now config.grad_accum_steps"),
])
def test_errors_name_the_mend(config, change, message):
  config.update(change)
  if "total_epochs" in change:
    config.input.mixture = [dict(data=dict(name="memory", examples=[{"prefix": ""}]), pp="")]
  with pytest.raises(ValueError, match=message):
    setup.make(config, jax.devices()[:1])


def test_a_field_of_big_vision_is_refused_and_its_place_is_a_field_of_ours(config):
  config.grad_clip_norm = 1.0
  with pytest.raises(ValueError, match="grad_clip_norm is not read. .*: optimizer.clip_norm"):
    setup.make(config, jax.devices()[:1])
  known = common.train()
  assert all(set(config_fields.FIELDS[group]) == set(known[group]) for group in setup.CLOSED)
  for place in names.BIG_VISION.values():
    for field in re.findall(r"^(\w+)\.(\w+)", place):
      assert field[0] == "model" or field[1] in known[field[0]], place


def test_adapters_take_one_schedule(config):
  config.lora.rank = 2
  config.optimizer.schedule = (("img/.*", None), (".*", dict(decay="cosine")))
  with pytest.raises(ValueError, match="only the adapters are trainable: optimizer.*one rule"):
    setup.make(config, jax.devices()[:1])
