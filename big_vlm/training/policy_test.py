import functools
import types

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from big_vlm import scoring, sharding
from big_vlm.families import paligemma
from big_vlm.training import losses, next_token, optim, policy, schedules
from big_vlm.training import step as steps

B, G, PROMPT, NEW, SIZE = 2, 4, 5, 4, 16
LENGTHS = (4, 2, 1, 3, 4, 4, 2, 3)  # of the answers
BASE = dict(prompt_len=PROMPT, max_new_tokens=NEW, samples=G, rewards=({"name": "x"},))


def settings(**kw):
  kw = BASE | kw
  return policy.Settings(**kw | ({"rewards": ()} if kw.get("algorithm") == "dpo" else {}))


MODEL = paligemma.PaliGemma(paligemma.config(dict(variant="tiny"), dict(variant="tiny")))
params_of = functools.cache(jax.jit(
    lambda seed: paligemma.init_params(MODEL, jax.random.key(seed))))
# Compiled once for all algorithms: what differs between them is an argument.
answer_logprobs = jax.jit(functools.partial(policy.answer_logprobs, MODEL),
                          static_argnames="grad_accum_steps")


@pytest.fixture(scope="module")
def batch():
  rng = np.random.default_rng(0)
  at = np.arange(PROMPT + NEW)[None]
  real = (at >= PROMPT) & (at < PROMPT + np.array(LENGTHS)[:, None])
  return dict(text=np.where((at < PROMPT) | real, rng.integers(4, 128, real.shape), 0).astype("i4"),
              mask_ar=np.broadcast_to(at >= PROMPT, real.shape).astype("i4"),
              mask_loss=real.astype("i4"),
              image=rng.integers(0, 256, (B * G, SIZE, SIZE, 3)).astype(np.uint8),
              advantage=rng.normal(size=B * G).astype("f4"))


def moved(params, by):
  """The parameters a little elsewhere, as after some updates."""
  other = params_of(by)
  return jax.tree.map(lambda a, b: a + 0.05 * (b - a), params, other)


def test_advantages_by_hand():
  np.testing.assert_allclose(policy.leave_one_out([[1, 0, 0, 2]]),
                             [[1 - 2 / 3, -1, -1, 2 - 1 / 3]], rtol=1e-6)
  np.testing.assert_allclose(policy.group_normalized([[1., 3.]]), [[-1, 1]], rtol=1e-5)
  for of in (policy.leave_one_out, policy.group_normalized):  # 0.1 + 0.1 + 0.1 is not 0.3
    np.testing.assert_array_equal(of(np.full((2, 3), 0.1)), 0)


def test_log_probabilities_are_those_of_score(batch, mesh1):
  params = params_of(0)
  at, real = policy.answer_places(batch["mask_loss"], NEW)
  got = answer_logprobs(params, batch, at)
  parts = answer_logprobs(params, batch, at, grad_accum_steps=2)
  np.testing.assert_allclose(got[real], parts[real], atol=2e-6)
  answers = [row[mask > 0].tolist() for row, mask in zip(batch["text"], batch["mask_loss"])]
  want = scoring.suffix_logprobs(
      MODEL, params, [row[:PROMPT].tolist() for row in batch["text"]], answers,
      [[image] for image in batch["image"]], None, mesh1)
  for i, logprobs in enumerate(want):
    np.testing.assert_allclose(got[i, :LENGTHS[i]], logprobs, atol=2e-6)


def by_hand(tune, batch, now, old, start):
  """The loss of an algorithm as its paper writes it, from log-probabilities [R, T - 1]."""
  mask = batch["mask_loss"][:, 1:]
  if tune.algorithm == "dpo":
    gain = jnp.sum(mask * (now - start), axis=1)
    return -jnp.mean(jnp.log(jax.nn.sigmoid(tune.beta * (gain[::2] - gain[1::2]))))
  advantage = batch["advantage"][:, None]
  each = now * advantage
  if tune.algorithm == "grpo":
    ratio = jnp.exp(now - old)
    each = jnp.minimum(ratio * advantage,
                       jnp.clip(ratio, 1 - tune.clip, 1 + tune.clip) * advantage)
  if tune.kl is not None:
    each -= tune.kl * (jnp.exp(start - now) - (start - now) - 1)
  return -jnp.sum(mask * each) / len(mask)


def plain_logprobs(params, batch):
  """Of every token from plain log-softmax, float32 [R, T - 1]."""
  hidden = MODEL.apply({"params": params}, batch["text"][:, :-1], batch["mask_ar"][:, :-1],
                       batch["image"])
  logits = jax.nn.log_softmax(MODEL.apply({"params": params}, hidden, method="logits"))
  return jnp.take_along_axis(logits, batch["text"][:, 1:, None], axis=-1)[..., 0]


@jax.jit
def pulled_back(params, batch, of_logprobs):
  """The gradient to the parameters of a gradient to plain_logprobs."""
  return jax.vjp(lambda p: plain_logprobs(p, batch), params)[1](of_logprobs)[0]


@jax.jit
def weighted_gradient(params, batch):
  """That of the training step's loss."""
  weights = losses.batch_weights(batch, "sequence")
  return jax.grad(lambda p: next_token.loss_fn(MODEL, p, batch, weights, jax.random.key(0)))(params)


@pytest.mark.parametrize("tune", [
    settings(kl=0.3), settings(algorithm="grpo", updates=2, clip=0.02, kl=0.3),
    settings(algorithm="dpo", beta=0.5)], ids=["reinforce", "grpo", "dpo"])
def test_the_gradient_is_that_of_the_papers_loss(batch, tune):
  start, old, params = params_of(0), moved(params_of(0), 1), moved(params_of(0), 2)
  share = losses.token_weights(batch["mask_loss"], "sequence")
  at, real = policy.answer_places(batch["mask_loss"], NEW)
  of = lambda params: answer_logprobs(params, batch, at)
  weight, measured = policy.token_weights(
      tune, batch, of(params), of(old), of(start) if tune.has_reference else None, real,
      jnp.take_along_axis(share, at, axis=1))
  spread = jnp.zeros(share.shape).at[jnp.arange(len(at))[:, None], at].add(weight)
  got = weighted_gradient(params, batch | {"loss_weight": spread})
  plain = jax.jit(plain_logprobs)
  hand = lambda now: by_hand(tune, batch, now, plain(old, batch), plain(start, batch))
  value, of_logprobs = jax.value_and_grad(hand)(plain(params, batch))
  want = pulled_back(params, batch, of_logprobs)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
    np.testing.assert_allclose(a, b, atol=2e-6 * max(1, float(jnp.abs(b).max())))
  if "loss" in measured:
    assert abs(float(measured["loss"]) - float(value)) < 1e-5
  if tune.algorithm == "grpo":
    assert 0 < float(measured["clipped"]) < 1  # so that both sides of the minimum are tried
  # ... and along the gradient the loss by hand changes as it says.
  size = float(optim.norm(got))
  step = lambda sign: jax.tree.map(lambda p, g: p + sign * 1e-3 / size * g, params, got)
  along = hand(plain(step(1), batch)) - hand(plain(step(-1), batch))
  assert abs(along / 2e-3 / size - 1) < 0.05


@functools.cache
def build(devices, accum=1, **kw):
  tune = settings(**dict(kw))
  mesh = sharding.make_mesh(devices=jax.devices()[:devices])
  shapes = jax.eval_shape(lambda: paligemma.init_params(MODEL, jax.random.key(0)))
  optimizer = optim.make(shapes, schedules.TrainingHorizon(9), lr=1e-2, weight_decay=0.1,
                         schedule=dict(decay="constant", warmup_steps=4))
  step = steps.make_train_step(MODEL, optimizer, 0, grad_accum_steps=accum,
                               loss_normalization="sequence")
  step = policy.make_step(step, MODEL, optimizer, tune, "sequence", accum)
  fresh = lambda: steps.start(paligemma.init_params(MODEL, jax.random.key(0)), optimizer)
  shardings = sharding.tree_sharding(mesh, jax.eval_shape(fresh), min_bytes=0,
                                     note=lambda line: None)
  return mesh, jax.jit(fresh, out_shardings=shardings), jax.jit(step)


def take(batch, *args, advantages=(None,), **kw):
  """The state after a step for each of the advantages, and the last metrics."""
  mesh, fresh, step = build(*args, **kw)
  with jax.set_mesh(mesh):
    state, reference = fresh(), fresh().params
    for advantage in advantages:
      given = batch if advantage is None else batch | {"advantage": advantage}
      put = sharding.make_global_array(mesh, given) | {"reference": reference}
      state, metrics = step(state, put)
  return state, metrics


def same(a, b):
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def test_equal_rewards_leave_the_parameters_to_the_bit(batch):
  some, none = batch["advantage"], np.zeros(B * G, np.float32)
  for n, first in enumerate(((), (some,))):  # at the start, and with momentum
    before, _ = take(batch, 1, advantages=first or (none,), algorithm="grpo", updates=2, kl=0.1)
    after, metrics = take(batch, 1, advantages=(*first, none), algorithm="grpo", updates=2, kl=0.1)
    same(before.params, after.params)
    assert int(after.step) == 1 + n and bool(metrics["finite"])
  assert float(jnp.abs(after.params["img"]["pos_embedding"]
                       - params_of(0)["img"]["pos_embedding"]).max()) > 0


def test_devices_and_microbatches_change_nothing(batch):
  kw = dict(algorithm="grpo", updates=2, kl=0.1)
  (one, metrics), (_, others) = take(batch, 1, **kw), take(batch, 4, accum=2, **kw)
  for name in ("loss", "kl", "weighted_likelihood", "l2_grads"):
    np.testing.assert_allclose(others[name], metrics[name], rtol=1e-3, atol=1e-5)
  # The rate is the step's, as the metric says it: its count moves once for both updates.
  assert float(metrics["lr"]) == pytest.approx(1e-2 / 4)  # of a warm-up of 4
  assert int(one.opt_state[-1].count) == 1 and int(one.step) == 1


@pytest.mark.parametrize("given, message", [
    (dict(algorithm="ppo"), "Unknown config.tune.algorithm 'ppo'"),
    (dict(samples=1), "samples is 1: give a whole number from 2 to 10,000"),
    (dict(updates=3), "only algorithm='grpo' corrects"), (dict(kl=float("nan")), "kl is nan"),
    (dict(kl=-1), "kl is -1"), (dict(max_new_tokens=0), "max_new_tokens is 0"),
    (dict(rewards=()), "needs tune.rewards"), (dict(algorithm="dpo", kl=1.), "beta is its KL")])
def test_settings_that_make_no_sense(given, message):
  with pytest.raises(ValueError, match=message):
    settings(**given)


def test_a_field_that_is_not_known():
  config = ml_collections.ConfigDict(dict(tune=dict(BASE, sample=3)))
  with pytest.raises(ValueError, match="Did you mean 'samples'"):
    policy.Settings.of(config)
  config.tune = dict(BASE, rewards=dict(name="counting"))
  with pytest.raises(ValueError, match="is {'name': 'counting'}: give a list of dicts"):
    policy.Settings.of(config)
  assert policy.Settings.of(ml_collections.ConfigDict()) is None
  policy.refuse(types.SimpleNamespace(get=lambda name: None), "tools.plan")
