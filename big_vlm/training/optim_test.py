import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from big_vlm.models import paligemma
from big_vlm.training import optim

PARAMS = {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4), "norm": {"scale": jnp.ones(4)}}


def update(**kw):
  optimizer, _ = optim.make(PARAMS, lr=0.1, total_steps=10, **kw)
  grads = {"kernel": jnp.full((4, 4), 3.), "bias": jnp.zeros(4), "norm": {"scale": jnp.zeros(4)}}
  return optimizer.update(grads, optimizer.init(PARAMS), PARAMS)[0]


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
  optimizer, _ = optim.make(params, lr=1., total_steps=10, name="muon", args={"ratio": 1.})
  grads = jax.tree.map(lambda x: jax.random.normal(jax.random.key(1), x.shape), params)
  updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
  attn, img = updates["llm"]["layers"]["attn"], updates["img"]["Transformer"]["encoderblock"]
  k = attn["kv_einsum"]["w"][1, 0, 0]  # one layer's keys: D = 32 to H = 16
  out = attn["attn_vec_einsum"]["w"][0].reshape(-1, 32)  # heads and H together to D
  query = img["MultiHeadDotProductAttention_0"]["query"]["kernel"][1].reshape(32, -1)
  for matrix in (k, out, query, updates["llm"]["layers"]["mlp"]["gating_einsum"][0, 1]):
    size = np.linalg.svd(matrix, compute_uv=False)
    assert np.quantile(size, 0.25) > 0.5 * size.max()  # of a random square matrix it is 0.25
  adam = jnp.abs(updates["llm"]["embedder"]["input_embedding"])  # Adam's first step: all alike
  np.testing.assert_allclose(adam, adam.mean(), rtol=1e-2)
