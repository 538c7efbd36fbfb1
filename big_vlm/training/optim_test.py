import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from big_vlm import trees
from big_vlm.families import paligemma
from big_vlm.training import optim, schedules

PARAMS = {"img": {"head": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}},
          "llm": {"final_norm": {"scale": jnp.ones(4)}}}
HORIZON = schedules.TrainingHorizon(total=10)
FLAT = dict(decay="constant")


def update(schedule=FLAT, lr=0.1, **kw):
  """{"kernel", "bias", "scale"} of the first update."""
  tx = optim.make(PARAMS, HORIZON, lr=lr, schedule=schedule, **kw).tx
  grads = trees.map_with_names(
      lambda name, x: jnp.full(x.shape, 3. if name.endswith("kernel") else 0.), PARAMS)
  updates = tx.update(grads, tx.init(PARAMS), PARAMS)[0]
  return {**updates["img"]["head"], **updates["llm"]["final_norm"]}


def test_first_adam_update_is_the_learning_rate():
  np.testing.assert_allclose(update()["kernel"], -0.1, rtol=1e-4)


def test_scales_and_biases_do_not_decay():
  decayed = update(weight_decay=0.5)
  np.testing.assert_allclose(decayed["kernel"], -0.1 * (1 + 0.5), rtol=1e-4)
  assert not decayed["bias"].any() and not decayed["scale"].any()


def test_gradients_are_clipped_by_their_global_norm():
  sgd = update(name="sgd", clip_norm=1.)
  assert optax.tree.norm(sgd) == pytest.approx(0.1)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizer_descends(name):
  args = dict(min_dim_size_to_factor=2) if name == "adafactor" else {}
  moved = update(name=name, args=args)["kernel"]
  assert (moved < 0).all() and jnp.isfinite(moved).all()


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_where_it_is_told_that_something_is_not_finite_its_state_stays(name):
  tx = optim.make(PARAMS, HORIZON, lr=0.1, name=name).tx
  grads = jax.tree.map(jnp.ones_like, PARAMS)
  _, state = tx.update(grads, tx.init(PARAMS), PARAMS)
  bad = jax.tree.map(lambda g: g * jnp.nan, grads)
  _, kept = tx.update(bad, state, PARAMS, finite=jnp.bool_(False))
  jax.tree.map(np.testing.assert_array_equal, kept, state)


@pytest.mark.parametrize("args", [{}, dict(b1=0.8, b2=0.95, eps=1e-3), dict(mu_dtype="bfloat16")])
def test_adam_is_that_of_optax(rng, args):
  ours, theirs = optim.adam(**args), optax.scale_by_adam(**args)
  states = ours.init(PARAMS), theirs.init(PARAMS)
  for _ in range(3):
    grads = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), PARAMS)
    (a, mine), (b, other) = ours.update(grads, states[0]), theirs.update(grads, states[1])
    states = mine, other
    assert jax.tree.structure(mine) == jax.tree.structure(other)
    jax.tree.map(functools.partial(
        np.testing.assert_allclose, rtol=2e-2 if "mu_dtype" in args else 1e-5, atol=1e-6), a, b)
    jax.tree.map(lambda x, y: np.testing.assert_equal(x.dtype, y.dtype), mine, other)


def test_rates_and_decay_by_regex():
  changed = update(weight_decay=0.5, lr_mults=[(".*/kernel", 0.5), (".*", 1.)],
                   weight_decay_mults=[(".*/bias", 2.), (".*", 0.)])
  np.testing.assert_allclose(changed["kernel"], -0.05, rtol=1e-4)
  np.testing.assert_allclose(changed["bias"], -0.1 * 0.5 * 2, rtol=1e-4)


def test_schedules_by_regex():
  optimizer = optim.make(PARAMS, HORIZON, lr=0.1, schedule=[
      (".*/kernel", dict(decay="linear")), (".*/bias", None), (".*", FLAT)])
  assert optimizer.trainable == {"img/head/kernel", "llm/final_norm/scale"}
  rates = optimizer.rates(5)
  assert {k: float(v) for k, v in rates.items()} == pytest.approx(
      {"lr[.*/kernel]": 0.05, "lr[.*]": 0.1})


@pytest.mark.parametrize("kw,message", [
    (dict(name="adamv"), "Unknown optimizer 'adamv'. Did you mean 'adamw'"),
    (dict(lr=-1e-3), "rate is -0.001: it must be a finite number, 0 or above"),
    (dict(lr=float("nan")), "rate is nan"),
    (dict(lr="1e-3"), "rate is '1e-3'"),
    (dict(args=dict(esp=1e-8)), "'adamw' has no 'esp'. Did you mean 'eps'"),
    (dict(schedule=dict(decay="cosin")), "Unknown schedule 'cosin'. Did you mean 'cosine'"),
    (dict(schedule=[(".*/kernel", FLAT)]), "No schedule rule covers 2 of 3 parameters"),
    (dict(weight_decay_mults=[(".*/kernel", 1.)]), "No weight-decay rule covers 2 of 3 parameters"),
    (dict(weight_decay_mults=[("kernal", 1.), (".*", 0.)]), "'kernal' matches no parameter"),
    (dict(lr_mults=[("kernal", 1.), (".*", 0.)]), "learning-rate rule 'kernal' matches no"),
])
def test_errors_name_the_mend(kw, message):
  with pytest.raises(ValueError, match=message):
    update(**kw)


@pytest.mark.parametrize("decoder, paths", [
    ("tiny", {"attn/kv_einsum/w": lambda w: w[1, 1, 0],  # one layer's values: D = 32 to H = 16
              "attn/attn_vec_einsum/w": lambda w: w[0].reshape(-1, 32),  # N and H together to D
              "mlp/gating_einsum": lambda w: w[0, 1]}),
    ("opt_tiny", {"attn/query/kernel": lambda w: w[1].reshape(32, -1),
                  "attn/out/kernel": lambda w: w[0].reshape(-1, 32),
                  "mlp/Dense_0/kernel": lambda w: w[0]})])
def test_muon_makes_the_matrices_of_the_blocks_orthogonal(decoder, paths):
  model = paligemma.PaliGemma(paligemma.config(dict(variant="tiny"), dict(variant=decoder)))
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  tx = optim.make(params, HORIZON, lr=1., schedule=FLAT, name="muon", args={"ratio": 1.}).tx
  grads = jax.tree.map(lambda x: jax.random.normal(jax.random.key(1), x.shape), params)
  updates, _ = jax.jit(tx.update)(grads, tx.init(params), params)
  updates = dict(zip(trees.names(updates), jax.tree.leaves(updates)))
  block = "img/Transformer/encoderblock/MultiHeadDotProductAttention_0"
  query = updates[f"{block}/query/kernel"][1].reshape(32, -1)
  for matrix in (query, *(of(updates[f"llm/layers/{path}"]) for path, of in paths.items())):
    size = np.linalg.svd(matrix, compute_uv=False)
    assert np.quantile(size, 0.25) > 0.5 * size.max()  # of a random square matrix it is 0.25
  adam = jnp.abs(updates["llm/embedder/input_embedding"])  # Adam's first step: all alike
  np.testing.assert_allclose(adam, adam.mean(), rtol=1e-2)


def test_muon_asks_that_every_leaf_be_declared():
  params = {"llm": {"layers": {"mlp": {"up": jnp.ones((2, 4, 4))}}}}
  tx = optim.make(params, HORIZON, lr=1., name="muon", weight_decay_mults=optim.EVEN).tx
  with pytest.raises(ValueError, match="No family declares the parameter 'llm/layers/mlp/up'"):
    tx.init(params)


LEAVES = {"img": {"head": {"kernel": jnp.ones((2, 3))}},
          "llm": {"embedder": {"input_embedding": {"q": jnp.ones(3, jnp.int8)}},
                  "final_norm": {"scale": jnp.ones(2)}}}
KERNEL, TABLE, SCALE = trees.names(LEAVES)


@pytest.mark.parametrize("schedule,trains", [
    (FLAT, {KERNEL, SCALE}),  # integers never train
    ([(SCALE, FLAT), (".*", None)], {SCALE}),
    ([(SCALE, None), (".*", FLAT)], {KERNEL}),
])
def test_what_is_frozen_has_no_state(schedule, trains):
  optimizer = optim.make(LEAVES, HORIZON, lr=1., schedule=schedule)
  assert optimizer.trainable == trains
  trained, frozen = optim.partition(LEAVES, optimizer.trainable)
  assert set(trees.names(trained)) == trains and len(trees.names(frozen)) == 3 - len(trains)
  state = optimizer.tx.init(trained)
  assert {n.partition("mu/")[2] for n in trees.names(state) if "mu/" in n} == trains
  whole = optim.combine(LEAVES, trained, frozen)
  jax.tree.map(np.testing.assert_array_equal, whole, LEAVES)


def test_the_scale_of_a_quantized_weight_does_not_train():
  small = {"q": jnp.ones(3, jnp.int8), "scale": jnp.ones(1)}
  leaves = {"llm": {"layers": {"mlp": {"linear": small}}, "final_norm": {"scale": jnp.ones(2)}}}
  assert optim.make(leaves, HORIZON, lr=1.).trainable == {SCALE}


@pytest.mark.parametrize("schedule,message", [
    ([("v", FLAT), (".*", None)], "schedule rule 'v' matches no parameter"),
    ([(TABLE, FLAT), (".*", None)], "no parameter trainable: the 1 leaves that it covers hold int"),
    ([(".*", None)], "no parameter trainable: no rule has a schedule"),
])
def test_wrong_rules_of_what_trains(schedule, message):
  with pytest.raises(ValueError, match=message):
    optim.make(LEAVES, HORIZON, lr=1., schedule=schedule)


def test_the_table_says_what_trains_and_how():
  params = {"img": {"embedding": {"kernel": jnp.ones((10, 100))}},
            "llm": {"final_norm": {"scale": jnp.ones(100)},
                    "layers": {"mlp": {"linear": jnp.ones((10, 100), jnp.bfloat16)}}}}
  optimizer = optim.make(params, HORIZON, lr=1e-3, weight_decay=0.1,
                         lr_mults=[("llm/.*", 0.1), (".*", 1.)],
                         schedule=[("img/.*", None), (".*", FLAT)])
  lines = [re.split(r"  +", line.strip()) for line in optim.table(params, optimizer).splitlines()]
  assert lines == [
      ["part", "rule", "leaves", "parameters", "dtype", "lr", "decay", "state MB"],
      ["tower", "img/.*", "1", "1,000", "float32", "frozen", "0.0"],
      ["decoder", ".*", "1", "100", "float32", "0.0001", "0", "0.0"],
      ["decoder", ".*", "1", "1,000", "bfloat16", "0.0001", "0.1", "0.0"],
      ["1,100 of 2,100 parameters train (52.38%)"]]
