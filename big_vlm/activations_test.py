"""The layers laid open: activations, gradients, and decoding by hand."""
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def test_score_tokens_lays_the_layers_open(text_only, rng):
  tokens = rng.integers(4, 128, (2, 6))
  seen = []
  def look(x, i):
    seen.append((i, x.shape))
    return x
  logits = text_only.score_tokens(tokens, layer_intercept_fn=look)
  assert seen == [(i, (2, 6, 32)) for i in (-1, 0, 1, 2)]
  np.testing.assert_allclose(logits, text_only.logits(tokens), atol=1e-4)
  np.testing.assert_allclose(text_only.score_tokens(tokens), logits, atol=1e-4)
  # -1 is the table's own rows, as KerasHub has it, before Gemma's sqrt(D).
  first = []
  text_only.score_tokens(tokens, layer_intercept_fn=lambda x, i: (first.append(x), x)[1])
  table = text_only.params["llm"]["embedder"]["input_embedding"]
  np.testing.assert_array_equal(first[0], table[tokens])
  # What goes on is what the function gives.
  cut = text_only.score_tokens(tokens, layer_intercept_fn=lambda x, i: x * (i != 1))
  assert np.abs(cut - logits).max() > 0.1


def test_gradients_with_respect_to_the_embeddings(vlm, rng):
  """The example of KerasHub's documentation, there with a tape."""
  tokens = rng.integers(4, 1632, (2, 6))
  targets = np.roll(tokens, -1, axis=1)
  image = rng.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
  def loss(change):
    return vlm.score_tokens(tokens, image, mode="loss", targets=targets, layer_intercept_fn=
                            lambda x, i: x + change if i == -1 else x)
  zeros = jnp.zeros((2, 4 + 6, 32))
  grads = jax.grad(lambda change: loss(change)[:, 3].sum())(zeros)
  assert np.abs(grads[:, :8]).min(axis=-1).max() > 0
  assert not grads[:, 8:].any()  # causal: the loss at token 3 knows no later one
  # Text is multiplied by sqrt(32) after the change.
  step = 1e-3 / 32**.5 * np.asarray(rng.normal(size=zeros.shape), np.float32)
  both = [loss(sign * step)[:, 3].sum() for sign in (1, -1)]
  np.testing.assert_allclose((both[0] - both[1]) / 2, (grads * step).sum(), rtol=0.05)


def test_decoding_by_hand_is_generate(text_only):
  prompt = [2, 5, 6]
  want = text_only.generate([prompt], max_new_tokens=3, stop=())[0].tokens
  logits, cache = text_only.prefill([prompt], max_new_tokens=3)
  np.testing.assert_allclose(logits, text_only.logits([prompt], last=1)[:, 0], atol=1e-4)
  got = []
  for _ in want:
    got.append(int(logits.argmax()))
    logits, cache = text_only.extend([got[-1]], cache)
  assert got == want
  with pytest.raises(ValueError, match="cache are taken. Give prefill.. a larger max_new_tokens"):
    for _ in range(cache.tokens.valid.shape[1]):  # its length is a bucket
      logits, cache = text_only.extend([5], cache)
  with pytest.raises(ValueError, match=r"one of each row, \[B\], not \[1, 2\]"):
    text_only.extend([[5, 6]], cache)


def test_an_answer_of_nan_is_an_error(text_only):
  params = jax.tree.map(lambda x: x * jnp.nan, text_only.params)
  with pytest.raises(ValueError, match="logits are NaN: .*its parameters are damaged"):
    dataclasses.replace(text_only, params=params).generate([[2, 5, 6]], max_new_tokens=3, stop=())


def test_activations_by_name(vlm, image):
  small = vlm.preprocess(image)[None]
  found = vlm.outputs([[2, 5, 6]], small, names=("hidden", "image"))
  assert found["hidden"].shape == (3, 1, 4 + 3, 32)
  np.testing.assert_allclose(found["image"], vlm.image_features(small), atol=1e-5)
  with pytest.raises(ValueError, match="Did you mean 'hidden'"):
    vlm.outputs([[2, 5]], small, names=["hiden"])
