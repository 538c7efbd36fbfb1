import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm.nn import attention


def test_prefix_lm_mask():  # img img ask ans ans pad
  tokens = attention.prefix_lm(jnp.array([[0, 0, 0, 1, 1, 1]]), jnp.array([[1, 1, 1, 1, 1, 0]]))
  np.testing.assert_array_equal(
      attention.attention_mask(tokens, tokens)[0],
      [[1, 1, 1, 0, 0, 0],  # image and question see
       [1, 1, 1, 0, 0, 0],  # each other
       [1, 1, 1, 0, 0, 0],  # but not the answer,
       [1, 1, 1, 1, 0, 0],  # which is causal;
       [1, 1, 1, 1, 1, 0],
       [0, 0, 0, 0, 0, 0]])  # padding sees nothing and is not seen


def test_window_is_the_token_and_those_before_it():
  causal = attention.prefix_lm(jnp.ones((1, 5), jnp.int32))
  np.testing.assert_array_equal(
      attention.attention_mask(causal, causal, window=2)[0],
      [[1, 0, 0, 0, 0],
       [1, 1, 0, 0, 0],
       [0, 1, 1, 0, 0],
       [0, 0, 1, 1, 0],
       [0, 0, 0, 1, 1]])


def test_examples_of_a_row_do_not_see_each_other():  # img ans ans | img ask ans | pad
  tokens = attention.packed(jnp.array([[0, 1, 1, 0, 0, 1, 0]]), jnp.array([[1, 1, 1, 2, 2, 2, 0]]))
  assert tokens.position[0].tolist() == [0, 1, 2, 0, 1, 2, 0]
  np.testing.assert_array_equal(
      attention.attention_mask(tokens, tokens)[0],
      [[1, 0, 0, 0, 0, 0, 0],
       [1, 1, 0, 0, 0, 0, 0],
       [1, 1, 1, 0, 0, 0, 0],
       [0, 0, 0, 1, 1, 0, 0],
       [0, 0, 0, 1, 1, 0, 0],
       [0, 0, 0, 1, 1, 1, 0],
       [0, 0, 0, 0, 0, 0, 0]])


def test_positions_count_real_tokens_only():
  tokens = attention.prefix_lm(jnp.array([[0, 0, 1, 1]]), jnp.array([[1, 0, 1, 1]]))
  assert tokens.position[0].tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("mode,prefix_rows", [
    ("symmetric", [[1, 1, 0, 0, 0, 0],  # the window of 2 holds in the prefix both ways
                   [1, 1, 1, 0, 0, 0],
                   [0, 1, 1, 1, 0, 0],
                   [0, 0, 1, 1, 0, 0]]),
    ("prefix_bidirectional", [[1, 1, 1, 1, 0, 0]] * 4)])  # the prefix sees all of itself
def test_window_modes_differ_in_the_prefix_alone(mode, prefix_rows):
  tokens = attention.prefix_lm(jnp.array([[0, 0, 0, 0, 1, 1]]))
  np.testing.assert_array_equal(
      attention.attention_mask(tokens, tokens, 2, mode)[0],
      [*prefix_rows,
       [0, 0, 0, 1, 1, 0],  # the answer sees the last 2, of the prefix too
       [0, 0, 0, 0, 1, 1]])


@pytest.mark.parametrize("length", [5, 6, 7, 12])  # W-1, W, W+1, 2W
@pytest.mark.parametrize("prefix", [0, 3, 12])
@pytest.mark.parametrize("mode", attention.SLIDING_WINDOW_MODES)
def test_window_modes_by_loops(mode, prefix, length, window=6):
  at = range(length)
  tokens = attention.prefix_lm(jnp.array([[int(i >= prefix) for i in at]]))
  def sees(i, j):
    both = i < prefix and j < prefix
    if mode == "prefix_bidirectional" and both:
      return True
    return (both or j <= i) and abs(i - j) < window
  np.testing.assert_array_equal(attention.attention_mask(tokens, tokens, window, mode)[0],
                                [[sees(i, j) for j in at] for i in at])


def test_unknown_window_mode():
  tokens = attention.prefix_lm(jnp.ones((1, 2), jnp.int32))
  with pytest.raises(ValueError, match="sliding window mode 'symetric'.*mean 'symmetric'"):
    attention.attention_mask(tokens, tokens, 2, "symetric")


@pytest.mark.parametrize("cap", [None, 5.0])
def test_attend_equals_a_loop_over_heads(rng, cap):
  q = rng.normal(size=(2, 3, 4, 8)).astype(np.float32)  # 4 query heads
  k, v = rng.normal(size=(2, 2, 5, 2, 8)).astype(np.float32)  # 2 kv heads
  mask = rng.random((2, 3, 5)) < 0.7
  mask[..., 0] = True
  got = attention.attend(q, k, v, mask, cap)
  for n in range(4):
    logits = np.einsum("bth,bsh->bts", q[:, :, n], k[:, :, n // 2])  # head n reads kv head n // 2
    logits = np.tanh(logits / cap) * cap if cap else logits
    probs = np.exp(logits) * mask
    want = np.einsum("bts,bsh->bth", probs / probs.sum(-1, keepdims=True), v[:, :, n // 2])
    np.testing.assert_allclose(got[:, :, n], want, atol=1e-5)


def test_the_capture_hook_gets_the_probabilities_head_by_head(rng):
  q, k = rng.normal(size=(2, 1, 3, 4, 8)).astype(np.float32)
  k, captured = k[:, :, :2], []
  out = attention.attend(q, k, k, capture=captured.append)
  assert captured[0].shape == (1, 4, 3, 3)
  np.testing.assert_allclose(
      np.einsum("bnts,bsnh->btnh", captured[0], np.repeat(k, 2, axis=2)), out, atol=1e-6)


def test_a_row_that_sees_nothing_is_finite():
  x = jnp.ones((1, 2, 1, 4))
  assert np.isfinite(attention.attend(x, x, x, jnp.zeros((1, 2, 2), bool))).all()


def test_rope_is_relative_and_pairs_halves(rng):
  q, k = rng.normal(size=(2, 1, 1, 1, 8)).astype(np.float32)
  score = lambda i, j: jnp.sum(attention.rope(q, jnp.array([[i]])) *
                               attention.rope(k, jnp.array([[j]])))
  np.testing.assert_allclose(score(7, 3), score(104, 100), rtol=1e-4)
  e0 = jnp.zeros((1, 1, 1, 8)).at[..., 0].set(1)  # element 0 turns into element 4, by 1 radian
  np.testing.assert_allclose(attention.rope(e0, jnp.array([[1]]))[0, 0, 0, jnp.array([0, 4])],
                             [np.cos(1), np.sin(1)], rtol=1e-6)


def test_rope_of_another_base_with_scaled_positions(rng):
  x, position = rng.normal(size=(1, 3, 2, 8)).astype(np.float32), jnp.array([[0, 800, 8000]])
  got = jax.jit(attention.rope)(x, position, jnp.float32(1e6), jnp.float32(8))
  angle = np.array([0, 100, 1000.])[:, None] / 1e6 ** (np.arange(4) / 4)
  turned = (x[..., :4] + 1j * x[..., 4:]) * np.exp(1j * angle)[None, :, None]
  np.testing.assert_allclose(got, np.concatenate([turned.real, turned.imag], -1), atol=1e-4)


def test_bfloat16_keeps_float32_softmax():
  k = jnp.linspace(-1, 1, 300, dtype=jnp.bfloat16)[None, :, None, None]
  out = attention.attend(jnp.ones((1, 1, 1, 1), jnp.bfloat16), k, jnp.ones_like(k))
  assert out.dtype == jnp.bfloat16
  np.testing.assert_allclose(out.astype(jnp.float32), 1, atol=1e-2)  # bf16 sums reach only ~0.9
  assert jax.eval_shape(attention.attend, k, k, k).dtype == jnp.bfloat16
