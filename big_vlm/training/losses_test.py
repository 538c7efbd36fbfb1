import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm.training import losses


@pytest.fixture
def problem(rng):
  table = rng.normal(size=(50, 8)).astype(np.float32)
  hidden = rng.normal(size=(3, 11, 8)).astype(np.float32)
  return table, hidden, rng.integers(0, 50, (3, 11))


def nll(table, hidden, targets, chunk):
  return losses.token_nll(lambda h: h @ table.T, hidden, targets, chunk)


def test_nll_is_minus_the_log_probability(problem):
  table, hidden, targets = problem
  logits = hidden @ table.T
  probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  want = -np.log(np.take_along_axis(probs, targets[..., None], -1))[..., 0]
  np.testing.assert_allclose(nll(*problem, chunk=64), want, rtol=1e-4)


@pytest.mark.parametrize("chunk", [1, 4, 11])  # 4 does not divide 11
def test_chunks_change_neither_value_nor_gradient(problem, chunk):
  loss = lambda table, hidden, chunk: nll(table, hidden, problem[2], chunk).sum()
  whole = jax.value_and_grad(loss, (0, 1))(*problem[:2], 64)
  parts = jax.value_and_grad(loss, (0, 1))(*problem[:2], chunk)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), whole, parts)


def test_each_example_weighs_the_same_however_long():
  nll = jnp.array([[1., 1., 1., 1.], [5., 9., 9., 9.]])
  mask = jnp.array([[1., 1., 1., 1.], [1., 0., 0., 0.]])
  assert losses.example_mean(nll, mask) == (1 + 5) / 2


def test_an_example_without_supervised_tokens_adds_nothing():
  assert losses.example_mean(jnp.ones((2, 3)), jnp.array([[1., 1, 0], [0, 0, 0]])) == 0.5
