import functools
import re
import types

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import sharding, trees
from big_vlm.families import paligemma
from big_vlm.training import optim, schedules
from big_vlm.training import step as steps

B, T, SIZE = 8, 10, 16


def make_batch(rng):
  mask = np.tile((np.arange(T) >= 5).astype(np.int32), (B, 1))
  return dict(text=rng.integers(4, 128, (B, T)).astype(np.int32), mask_ar=mask, mask_loss=mask,
              image=rng.integers(0, 256, (B, SIZE, SIZE, 3)).astype(np.uint8))


@functools.cache  # so that runs alike in all but their data compile once
def build(devices, llm, n, seed, dropout, ema=0., **loss):
  """(mesh, fresh state, jitted step) of n steps."""
  mesh = sharding.make_mesh(devices=jax.devices()[:devices])
  model = paligemma.PaliGemma(
      paligemma.config(dict(variant="tiny"), dict(variant=llm, dropout=dropout)))
  params = jax.eval_shape(lambda: paligemma.init_params(model, jax.random.key(0)))
  optimizer = optim.make(params, schedules.TrainingHorizon(n), lr=1e-2,
                         schedule=dict(decay="cosine"), ema=ema)
  fresh = lambda: steps.start(paligemma.init_params(model, jax.random.key(0)), optimizer)
  shardings = sharding.tree_sharding(mesh, jax.eval_shape(fresh), min_bytes=0,
                                     note=lambda line: None)
  step = jax.jit(steps.make_train_step(model, optimizer, seed, **loss),
                 donate_argnums=0, out_shardings=(shardings, None))
  return mesh, jax.jit(fresh, out_shardings=shardings), step


def run(batch, devices, llm="tiny", n=3, seed=0, dropout=0., **kw):
  """Losses of n steps on one batch, and the last state."""
  mesh, fresh, step = build(devices, llm, n, seed, dropout, **kw)
  state, losses = fresh(), []
  with jax.set_mesh(mesh):
    for _ in range(n):
      state, metrics = step(state, sharding.make_global_array(mesh, batch))
      losses.append(float(metrics["loss"]))
  return losses, state


@pytest.mark.parametrize("llm", ["tiny", "tiny2"])
def test_eight_devices_equal_one(rng, llm):
  batch = make_batch(rng)
  (one, _), (eight, state) = run(batch, 1, llm), run(batch, 8, llm)
  np.testing.assert_allclose(eight, one, atol=1e-5)
  cut = state.params["llm"]["layers"]["mlp"]["linear"].sharding
  assert "fsdp" in jax.tree.leaves(tuple(cut.spec))  # it is not that nothing was sharded


def test_the_loss_falls(rng):
  losses, state = run(make_batch(rng), 1, n=6)
  assert losses[-1] < 0.8 * losses[0]
  assert int(state.step) == 6


def test_only_supervised_tokens_count(rng):
  batch = make_batch(rng)
  base, _ = run(batch, 1, n=1)
  prompt_free = dict(batch, mask_loss=np.ones_like(batch["mask_loss"]))
  assert run(prompt_free, 1, n=1)[0] != base
  # The last token is a target only: what follows the last supervised one is no input.
  other = dict(batch, text=batch["text"].copy(), mask_loss=batch["mask_loss"].copy())
  other["mask_loss"][:, -1] = 0
  short, _ = run(other, 1, n=1)
  other["text"][:, -1] = 3
  assert run(other, 1, n=1)[0] == short


def test_dropout_is_a_function_of_seed_and_step(rng):
  batch = make_batch(rng)
  first, _ = run(batch, 1, dropout=0.3)
  assert run(batch, 1, dropout=0.3)[0] == first
  assert run(batch, 1, dropout=0.3, seed=1)[0] != first
  assert run(batch, 1)[0] != first


def test_logits_exist_for_half_of_the_text_at_most():
  vocabulary, b, t = 257_152, 4, 65
  model = paligemma.PaliGemma(
      paligemma.config(dict(variant="tiny"), dict(variant="tiny", vocab_size=vocabulary)))
  params = jax.eval_shape(lambda: paligemma.init_params(model, jax.random.key(0)))
  optimizer = optim.make(params, schedules.TrainingHorizon(1), lr=1.)
  state = jax.eval_shape(lambda p: steps.start(p, optimizer), params)
  row = jax.ShapeDtypeStruct((b, t), jnp.int32)
  batch = dict(text=row, mask_ar=row, mask_loss=row,
               image=jax.ShapeDtypeStruct((b, SIZE, SIZE, 3), jnp.uint8))
  program = jax.jit(steps.make_train_step(model, optimizer, 0)).lower(state, batch).compile()
  sizes = {np.prod(list(map(int, shape.split(",")))) // vocabulary
           for shape in re.findall(r"\w+\[([\d,]+)\]", program.as_text())
           if str(vocabulary) in shape.split(",")}
  assert max(sizes) == b * (t - 1) // 2 == 128  # and the table's, 32


@pytest.mark.parametrize("normalization", ["example", "token"])
@pytest.mark.parametrize("devices", [1, 2])
def test_accumulated_gradients_equal_the_whole_batch(rng, normalization, devices):
  batch = make_batch(rng)
  length = np.array([5, 1, 0, 3, 2, 2, 4, 1])[:, None]  # of the answers, also none
  batch["mask_loss"] = batch["mask_loss"] * (np.arange(T) < 5 + length)
  whole, state = run(batch, devices, loss_normalization=normalization)
  parts, cut = run(batch, devices, loss_normalization=normalization, grad_accum_steps=4)
  np.testing.assert_allclose(parts, whole, rtol=1e-5)
  adam, cut_adam = state.opt_state[1], cut.opt_state[1]  # Adam's moments: the gradients
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6),
               adam.mu, cut_adam.mu)


def test_the_moving_average_trails_the_parameters(rng):
  _, state = run(make_batch(rng), 1, n=2, ema=0.75)
  mesh, fresh, step = build(1, "tiny", 2, 0, 0., ema=0.75)
  start = jax.device_get(fresh().params["llm"]["final_norm"]["scale"])
  one, _ = step(fresh(), sharding.make_global_array(mesh, make_batch(np.random.default_rng(0))))
  first, second = (jax.device_get(s.params["llm"]["final_norm"]["scale"]) for s in (one, state))
  want = 0.75 * (0.75 * start + 0.25 * first) + 0.25 * second
  optimizer = types.SimpleNamespace(trainable=frozenset(trees.names(state.params)))
  averaged = steps.ema_params(state, optimizer)
  np.testing.assert_allclose(averaged["llm"]["final_norm"]["scale"], want, rtol=1e-5)


@flax.struct.dataclass
class Adapted:  # as a quantized weight with an adapter
  q: jax.Array
  scale: jax.Array
  lora: jax.Array
  eqn: str = flax.struct.field(pytree_node=False)


@pytest.mark.parametrize("dtype", ["int8", "int4", "bfloat16"])
def test_frozen_leaves_of_any_dtype_pass_through_a_donated_step(rng, dtype):
  def apply(variables, x, *_, method=None, **kw):
    w = variables["params"]["w"]
    if method == "logits":
      return jnp.einsum(w.eqn, x, w.q.astype(jnp.float32) * w.scale + w.lora)
    return jax.nn.one_hot(x, 8)
  q = jnp.asarray(rng.integers(-7, 8, (8, 128)), dtype)
  make = lambda: {"w": Adapted(q + 0, jnp.full((), 0.1), jnp.zeros((8, 128)), "BTD,DV->BTV")}
  optimizer = optim.make(make(), schedules.TrainingHorizon(5), lr=1e-2,
                         weight_decay_mults=[(".*", 1.)],
                         schedule=[("w/lora", dict(decay="constant")), (".*", None)])
  state = steps.start(make(), optimizer)
  assert {x.shape for x in jax.tree.leaves(state.opt_state)} == {(), (8, 128)}
  step = jax.jit(steps.make_train_step(types.SimpleNamespace(apply=apply), optimizer, 0),
                 donate_argnums=0)
  losses = []
  for _ in range(5):
    state, metrics = step(state, make_batch(rng) | {"text": np.full((B, T), 5, np.int32)})
    losses.append(float(metrics["loss"]))
  w = state.params["w"]
  assert losses[-1] < losses[0] and w.lora.any() and w.eqn == "BTD,DV->BTV"
  assert w.q.dtype == dtype and w.scale == jnp.float32(0.1)
  np.testing.assert_array_equal(w.q, q)
