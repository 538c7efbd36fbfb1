import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm.families import opt, paligemma
from big_vlm.families.opt.model import Embedder
from big_vlm.vlm import VLM

B, T = 2, 7


def build():
  model = paligemma.PaliGemma(paligemma.config(llm=dict(variant="opt_tiny")))
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  keys = iter(jax.random.split(jax.random.key(1), 100))
  # Fresh biases are zero and weights so small that a wrong one would not show.
  return model, jax.tree.map(lambda x: x + 0.2 * jax.random.normal(next(keys), x.shape), params)


@functools.partial(jax.jit, static_argnums=0)
def logits(model, params, text, mask_ar, valid=None):
  hidden = model.apply({"params": params}, text, mask_ar, None, valid)
  return model.apply({"params": params}, hidden, method="logits")


@pytest.mark.parametrize("variant,count", [  # with 2,048 rows of positions
    ("opt_125m", 125_237_760), ("opt_350m", 331_194_368), ("opt_1.3b", 1_315_753_984),
    ("opt_2.7b", 2_651_591_680), ("opt_6.7b", 6_658_465_792)])
def test_full_size_parameter_counts(variant, count):
  shapes = paligemma.param_shapes(paligemma.config(llm=dict(variant=variant)))
  assert sum(int(np.prod(x.shape, dtype=np.int64)) for x in shapes.values()) == count


def test_leaf_names_and_shapes():
  shapes = paligemma.param_shapes(paligemma.config(llm=dict(variant="opt_125m")))
  norms = {f"llm/layers/{norm}/{leaf}": (12, 768) for norm in ("attn_norm", "mlp_norm")
           for leaf in ("scale", "bias")}
  heads = {f"llm/layers/attn/{name}/{leaf}": shape for name in ("query", "key", "value")
           for leaf, shape in (("kernel", (12, 768, 12, 64)), ("bias", (12, 12, 64)))}
  assert {name: x.shape for name, x in shapes.items()} == {
      "llm/embedder/input_embedding": (50272, 768), "llm/embedder/pos_embedding": (2048, 768),
      **norms, **heads, "llm/layers/attn/out/kernel": (12, 12, 64, 768),
      "llm/layers/attn/out/bias": (12, 768),
      "llm/layers/mlp/Dense_0/kernel": (12, 768, 3072), "llm/layers/mlp/Dense_0/bias": (12, 3072),
      "llm/layers/mlp/Dense_1/kernel": (12, 3072, 768), "llm/layers/mlp/Dense_1/bias": (12, 768),
      "llm/final_norm/scale": (768,), "llm/final_norm/bias": (768,)}


def by_loops(params, text):
  """Causal logits [T, V] of one text without padding, in float64."""
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), params["llm"])
  def norm(x, w):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w["scale"] + w["bias"]
  dense = lambda x, w: np.tensordot(x, w["kernel"], w["kernel"].ndim - w["bias"].ndim) + w["bias"]
  x = p["embedder"]["input_embedding"][text] + p["embedder"]["pos_embedding"][:len(text)]
  for i in range(2):
    w = jax.tree.map(lambda x, i=i: x[i], p["layers"])
    y = norm(x, w["attn_norm"])
    q, k, v = (dense(y, w["attn"][name]) for name in ("query", "key", "value"))
    out = np.zeros_like(q)
    for n in range(4):
      for t in range(len(text)):
        probs = np.exp(k[:t + 1, n] @ q[t, n] / np.sqrt(8))
        out[t, n] = probs / probs.sum() @ v[:t + 1, n]
    x = x + np.einsum("tne,ned->td", out, w["attn"]["out"]["kernel"]) + w["attn"]["out"]["bias"]
    y = np.maximum(dense(norm(x, w["mlp_norm"]), w["mlp"]["Dense_0"]), 0)
    x = x + dense(y, w["mlp"]["Dense_1"])
  return norm(x, p["final_norm"]) @ p["embedder"]["input_embedding"].T


def test_equals_loops_in_float64_with_padding_on_either_side(rng):
  model, params = build()
  text = rng.integers(4, 128, (B, T)).astype(np.int32)
  valid = np.ones((B, T), np.int32)
  valid[0, :2], valid[1, 5:] = 0, 0  # positions count real tokens, so the side does not matter
  got = np.asarray(logits(model, params, text, np.ones_like(text), valid))
  for i in range(B):
    real = valid[i] == 1
    np.testing.assert_allclose(got[i, real], by_loops(params, text[i, real]), atol=2e-5)


def test_more_tokens_than_positions_are_refused():
  model, params = build()
  text = jnp.zeros((1, 65), jnp.int32)
  with pytest.raises(ValueError, match="65 tokens .* has 64 rows: shorten"):
    logits(model, params, text, text)
  assert logits(model, params, text[:, 1:], text[:, 1:]).shape == (1, 64, 128)
  with pytest.raises(ValueError, match="66 tokens .* fewer new tokens"):
    model.apply({"params": params}, text[:, 5:], text[:, 5:], max_new_tokens=6,
                cache_dtype="float32", method="prefill")


def test_bfloat16_adds_positions_in_float32():
  text = jnp.zeros((1, 4), jnp.int32)
  x = jnp.full((1, 4, 32), 8, jnp.bfloat16)  # bfloat16 has steps of 0.06 here
  embedder = Embedder(opt.config("opt_tiny", dtype="bfloat16"))
  params = jax.jit(lambda: embedder.init(jax.random.key(0), text, method="encode"))()
  params["params"]["pos_embedding"] = jnp.full((64, 32), 0.04)
  got = embedder.apply(params, x, text, method="add_position")
  assert got.dtype == jnp.bfloat16 and (got == 8.0625).all()


def test_projected_embeddings_are_not_intercepted(mesh1):
  config = {"llm": dict(variant="opt_tiny", embed_width=16, post_norm=True)}
  vlm = VLM.from_config(config, mesh=mesh1)
  assert vlm.score_tokens([[5, 6]]).shape == (1, 2, 128)
  with pytest.raises(ValueError, match="projects its embeddings"):
    vlm.score_tokens([[5, 6]], layer_intercept_fn=lambda x, i: x)
