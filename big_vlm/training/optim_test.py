import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from big_vlm import trees
from big_vlm.models import paligemma
from big_vlm.training import optim

PARAMS = {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4), "norm": {"scale": jnp.ones(4)}}


def update(**kw):
  rule = optim.make(PARAMS, lr=0.1, total_steps=10, **kw).rule
  grads = {"kernel": jnp.full((4, 4), 3.), "bias": jnp.zeros(4), "norm": {"scale": jnp.zeros(4)}}
  return rule.update(grads, rule.init(PARAMS), PARAMS)[0]


def test_schedule_rises_then_falls_to_zero():
  rate = optim.make_schedule("cosine", peak=1., steps=10, warmup=4)
  values = [float(rate(s)) for s in range(11)]
  assert values[:4] == [0.25, 0.5, 0.75, 1.0]  # the first update is not zero
  assert values[4] == 1 and values[7] == pytest.approx(0.5) and values[10] == pytest.approx(0)


def test_first_adam_update_is_the_learning_rate():
  np.testing.assert_allclose(update()["kernel"], -0.1, rtol=1e-4)


def test_scales_and_biases_do_not_decay():
  decayed = update(weight_decay=0.5)
  np.testing.assert_allclose(decayed["kernel"], -0.1 * (1 + 0.5), rtol=1e-4)
  assert not decayed["bias"].any() and not decayed["norm"]["scale"].any()


def test_gradients_are_clipped_by_their_global_norm():
  sgd = update(name="sgd", args={"decay": 0.}, clip_norm=1.)
  assert optax.tree.norm(sgd) == pytest.approx(0.1)


@pytest.mark.parametrize("kw,message", [
    (dict(name="adamv"), "Unknown optimizer 'adamv'. Did you mean 'adamw'"),
    (dict(schedule="cosin"), "Unknown schedule 'cosin'. Did you mean 'cosine'"),
    (dict(warmup=11), "warm-up of 11 steps does not fit"),
    (dict(decay_rules=[("kernel", 1.)]), "No weight-decay rule covers 2 of 3 parameters"),
    (dict(decay_rules=[("kernal", 1.), (".*", 0.)]), "'kernal' matches no parameter"),
])
def test_errors_name_the_mend(kw, message):
  with pytest.raises(ValueError, match=message):
    update(**kw)


def test_muon_turns_the_matrices_of_the_blocks_orthogonal():
  model = paligemma.PaliGemma(paligemma.config(dict(variant="tiny"), dict(variant="tiny")))
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  rule = optim.make(params, lr=1., total_steps=10, name="muon", args={"ratio": 1.}).rule
  grads = jax.tree.map(lambda x: jax.random.normal(jax.random.key(1), x.shape), params)
  updates, _ = jax.jit(rule.update)(grads, rule.init(params), params)
  attn, img = updates["llm"]["layers"]["attn"], updates["img"]["Transformer"]["encoderblock"]
  k = attn["kv_einsum"]["w"][1, 0, 0]  # one layer's keys: D = 32 to H = 16
  out = attn["attn_vec_einsum"]["w"][0].reshape(-1, 32)  # heads and H together to D
  query = img["MultiHeadDotProductAttention_0"]["query"]["kernel"][1].reshape(32, -1)
  for matrix in (k, out, query, updates["llm"]["layers"]["mlp"]["gating_einsum"][0, 1]):
    size = np.linalg.svd(matrix, compute_uv=False)
    assert np.quantile(size, 0.25) > 0.5 * size.max()  # of a random square matrix it is 0.25
  adam = jnp.abs(updates["llm"]["embedder"]["input_embedding"])  # Adam's first step: all alike
  np.testing.assert_allclose(adam, adam.mean(), rtol=1e-2)


LEAVES = {"w": jnp.ones((2, 3)), "q": jnp.ones(3, jnp.int8), "norm": {"scale": jnp.ones(2)}}


@pytest.mark.parametrize("rules,trains", [
    (optim.TRAINABLE, {"w", "norm/scale"}),  # integers never train
    ((("norm/.*", True), (".*", False)), {"norm/scale"}),
    ((("norm/.*", False), (".*", True)), {"w"}),
])
def test_what_is_frozen_has_no_state(rules, trains):
  optimizer = optim.make(LEAVES, lr=1., total_steps=1, trainable=rules)
  assert optimizer.trains == trains
  trained, frozen = optim.split(LEAVES, optimizer.trains)
  assert set(trees.names(trained)) == trains and len(trees.names(frozen)) == 3 - len(trains)
  state = optimizer.rule.init(trained)
  assert {n.partition("mu/")[2] for n in trees.names(state) if "mu/" in n} == trains
  whole = optim.join(LEAVES, trained, frozen)
  jax.tree.map(np.testing.assert_array_equal, whole, LEAVES)


def test_the_scale_of_a_quantized_weight_does_not_train():
  leaves = {"w": {"q": jnp.ones(3, jnp.int8), "scale": jnp.ones(1)}, "norm": {"scale": jnp.ones(2)}}
  assert optim.trained_names(leaves, optim.TRAINABLE) == {"norm/scale"}


@pytest.mark.parametrize("rules,message", [
    ([("w", True)], "No trainable rule covers 2 of 3"),
    ([("v", True), (".*", False)], "trainable rule 'v' matches no parameter"),
    ([("q", True), (".*", False)], "nothing train: the 1 leaves that it asks for hold integers"),
    ([(".*", False)], "nothing train: no rule says True"),
])
def test_wrong_rules_of_what_trains(rules, message):
  with pytest.raises(ValueError, match=message):
    optim.make(LEAVES, lr=1., total_steps=1, trainable=rules)
