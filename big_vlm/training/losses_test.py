import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm.training import losses

B, T, D, V = 3, 11, 8, 50


@pytest.fixture
def problem(rng):
  table = rng.normal(size=(V, D)).astype(np.float32)
  hidden = rng.normal(size=(B, T, D)).astype(np.float32)
  return table, hidden, rng.integers(0, V, (B, T))


# Awkward rows: a hole, all of it, nothing.
MASK = np.array([[0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0], [1] * T, [0] * T])


def plain(table, hidden, targets, weights, label_smoothing=0., z_loss=0.):
  """The definition, with all the logits and a one-hot target."""
  logits = hidden @ table.T
  want = jax.nn.one_hot(targets, V) * (1 - label_smoothing)
  want += (1 - jax.nn.one_hot(targets, V)) * label_smoothing / (V - 1)
  loss = -jnp.sum(jax.nn.log_softmax(logits) * want, -1)
  return jnp.sum(weights * (loss + z_loss * jax.nn.logsumexp(logits, -1)**2))


def ours(table, hidden, targets, weights, **kw):
  return losses.weighted_sum(lambda h: h @ table.T, hidden, targets, weights, **kw)


@pytest.mark.parametrize("kw", [{}, dict(label_smoothing=0.1), dict(z_loss=1e-2)])
@pytest.mark.parametrize("chunk", [None, 1, 4, 11])  # 4 does not divide 11
@pytest.mark.parametrize("normalization", losses.NORMALIZATIONS)
def test_equals_the_definition_and_its_gradient(problem, kw, chunk, normalization):
  table, hidden, targets = problem
  weights = losses.token_weights(jnp.array(MASK), normalization)
  value = jax.jit(jax.value_and_grad(lambda *p: ours(*p, targets, weights, chunk=chunk, **kw),
                                     (0, 1)))(table, hidden)
  want = jax.value_and_grad(lambda *p: plain(*p, targets, weights, **kw), (0, 1))(table, hidden)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), value, want)
  alone = jax.jit(lambda *p: ours(*p, targets, weights, chunk=chunk, **kw))(table, hidden)
  np.testing.assert_allclose(alone, want[0], rtol=1e-5)


def test_logits_exist_for_a_chunk_of_the_supervised_tokens_alone(problem):
  table, hidden, targets = problem
  weights = losses.token_weights(jnp.array(MASK))
  step = jax.jit(jax.value_and_grad(lambda *p: ours(*p, targets, weights, chunk=2), (0, 1)))
  program = step.lower(table, hidden).compile().as_text()
  with_vocabulary = {tuple(map(int, shape.split(",")))
                     for shape in re.findall(r"f32\[([\d,]+)\]", program) if f"{V}" in shape}
  biggest = max(np.prod(shape) for shape in with_vocabulary if D not in shape)
  assert biggest == B * 2 * V  # of B * T * V


def test_a_frozen_head_has_no_gradient_buffer(problem):
  table, hidden, targets = problem
  weights = losses.token_weights(jnp.array(MASK))

  def buffers(of):
    step = jax.jit(jax.grad(lambda *p: ours(*p, targets, weights, chunk=2), of))
    program = step.lower(table, hidden).compile().as_text()
    return re.findall(rf"f32\[{V},{D}\]\S* (?:add|fusion|dot)", program)
  assert buffers(of=0) and not buffers(of=1)


@pytest.mark.parametrize("normalization,want", [("example", (1 + 5) / 2), ("token", 9 / 5)])
def test_normalizations_weigh_examples_or_tokens_the_same(normalization, want):
  nll = jnp.array([[1., 1., 1., 1.], [5., 9., 9., 9.]])
  mask = jnp.array([[1, 1, 1, 1], [1, 0, 0, 0]])
  assert jnp.sum(losses.token_weights(mask, normalization) * nll) == pytest.approx(want)


def test_an_unknown_normalization_names_its_neighbour():
  with pytest.raises(ValueError, match="loss_normalization 'tokens'. Did you mean 'token'"):
    losses.token_weights(jnp.array(MASK), "tokens")
