import numpy as np
import pytest

from big_vlm import scoring

B, T, D, V = 3, 11, 8, 13


@pytest.mark.parametrize("chunk", [1, 4, 11])
def test_nll_is_minus_the_log_probability(rng, chunk):
  table = rng.normal(size=(V, D)).astype(np.float32)
  hidden = rng.normal(size=(B, T, D)).astype(np.float32)
  targets = rng.integers(0, V, (B, T))
  logits = hidden @ table.T
  probs = np.exp(logits) / np.exp(logits).sum(-1)[..., None]
  want = -np.log(np.take_along_axis(probs, targets[..., None], -1))[..., 0]
  got = scoring.chunked_nll(lambda h: h @ table.T, hidden, targets, chunk)
  np.testing.assert_allclose(got, want, rtol=1e-4)
