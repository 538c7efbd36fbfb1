import jax
import numpy as np
import pytest

from big_vlm.decode import token_selection


@pytest.mark.parametrize("tuned", "01")
@pytest.mark.parametrize("rows,vocab", [(1, 128), (4, 1632), (3, 257), (2, 64), (5, 1)])
def test_equal_to_argmax_and_log_softmax(rng, rows, vocab, tuned, monkeypatch):
  monkeypatch.setenv("BIG_VLM_CPU_TUNING", tuned)
  jax.clear_caches()
  logits = rng.normal(0, 5, (rows, vocab)).astype(np.float32)
  logits[0, ::3] = logits[0].max()  # the first of several
  logits[-1, : vocab // 2] = -np.inf
  token = jax.jit(token_selection.argmax)(logits)
  np.testing.assert_array_equal(token, logits.argmax(axis=1))
  want = np.asarray(jax.nn.log_softmax(logits))[np.arange(rows), token]
  np.testing.assert_allclose(jax.jit(token_selection.logprob)(logits, token), want, atol=1e-5)
