import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import trees
from big_vlm.models import paligemma
from big_vlm.training import step as steps

B, T, SIZE = 3, 9, 16


def build(llm="tiny", **changes):
  config = paligemma.config(dict(variant="tiny"), dict(variant=llm, **changes))
  model = paligemma.PaliGemma(config)
  params = jax.jit(lambda: steps.init_params(model, jax.random.key(0), SIZE))()
  # Norm scales and biases start at zero, where a wrong one would not show.
  keys = iter(jax.random.split(jax.random.key(1), 100))
  params = jax.tree.map(lambda x: x + 0.05 * jax.random.normal(next(keys), x.shape), params)
  return model, params


@pytest.fixture(params=["tiny", "tiny2"])
def model_and_params(request):
  return build(request.param)


@pytest.fixture
def batch(rng):
  mask_ar = np.tile((np.arange(T) >= 4).astype(np.int32), (B, 1))  # 4 tokens of prefix
  return dict(text=rng.integers(4, 128, (B, T)).astype(np.int32), mask_ar=mask_ar,
              image=rng.integers(0, 256, (B, SIZE, SIZE, 3)).astype(np.uint8))


def logits(model, params, batch):
  hidden = model.apply({"params": params}, batch["text"], batch["mask_ar"], batch.get("image"),
                       batch.get("valid"))
  return np.asarray(model.apply({"params": params}, hidden, method="logits"))


COUNTS = {  # llm variant, image side: parameters, as the released checkpoints have them
    ("gemma_2b", 224): 2_923_335_408, ("gemma_2b", 448): 2_924_220_144,
    ("gemma_2b", 896): 2_927_759_088, ("gemma2_2b", 224): 3_032_094_960,
    ("gemma2_2b", 448): 3_032_979_696, ("gemma2_2b", 896): 3_036_518_640,
    ("gemma2_9b", 224): 9_662_409_456, ("gemma2_9b", 448): 9_663_294_192,
    ("gemma2_9b", 896): 9_666_833_136, ("gemma2_27b", 224): 27_650_192_112,
    ("gemma2_27b", 448): 27_651_076_848, ("gemma2_27b", 896): 27_654_615_792,
}


def full_size(variant, size):
  model = paligemma.PaliGemma(paligemma.config(
      dict(variant="So400m/14", image_size=size), dict(variant=variant, vocab_size=257_152)))
  return jax.eval_shape(lambda: steps.init_params(model, jax.random.key(0), size))


@pytest.mark.parametrize("variant,size", COUNTS)
def test_full_size_parameter_counts(variant, size):
  shapes = full_size(variant, size)
  assert sum(int(np.prod(x.shape, dtype=np.int64)) for x in jax.tree.leaves(shapes)) == COUNTS[
      variant, size]


def test_leaf_names_and_shapes_are_those_of_the_released_npz():
  shapes = full_size("gemma_2b", 224)
  block, attention = "img/Transformer/encoderblock", "MultiHeadDotProductAttention_0"
  heads = {f"{block}/{attention}/{name}/{leaf}": shape
           for name in ("query", "key", "value")
           for leaf, shape in (("kernel", (27, 1152, 16, 72)), ("bias", (27, 16, 72)))}
  norms = {f"{block}/LayerNorm_{i}/{leaf}": (27, 1152) for i in (0, 1)
           for leaf in ("scale", "bias")}
  assert dict(zip(trees.names(shapes), (x.shape for x in jax.tree.leaves(shapes)))) == {
      "img/embedding/kernel": (14, 14, 3, 1152), "img/embedding/bias": (1152,),
      "img/pos_embedding": (1, 256, 1152), **norms, **heads,
      f"{block}/{attention}/out/kernel": (27, 16, 72, 1152),
      f"{block}/{attention}/out/bias": (27, 1152),
      f"{block}/MlpBlock_0/Dense_0/kernel": (27, 1152, 4304),
      f"{block}/MlpBlock_0/Dense_0/bias": (27, 4304),
      f"{block}/MlpBlock_0/Dense_1/kernel": (27, 4304, 1152),
      f"{block}/MlpBlock_0/Dense_1/bias": (27, 1152),
      "img/Transformer/encoder_norm/scale": (1152,), "img/Transformer/encoder_norm/bias": (1152,),
      "img/head/kernel": (1152, 2048), "img/head/bias": (2048,),
      "llm/embedder/input_embedding": (257152, 2048),
      "llm/layers/attn/q_einsum/w": (18, 8, 2048, 256),
      "llm/layers/attn/kv_einsum/w": (18, 2, 1, 2048, 256),
      "llm/layers/attn/attn_vec_einsum/w": (18, 8, 256, 2048),
      "llm/layers/mlp/gating_einsum": (18, 2, 2048, 16384),
      "llm/layers/mlp/linear": (18, 16384, 2048),
      "llm/layers/pre_attention_norm/scale": (18, 2048),
      "llm/layers/pre_ffw_norm/scale": (18, 2048),
      "llm/final_norm/scale": (2048,)}


def test_gemma2_has_post_norms_and_gemma_7b_fused_qkv():
  shapes = full_size("gemma2_2b", 224)["llm"]["layers"]
  assert shapes["post_attention_norm"]["scale"].shape == (26, 2304)
  assert shapes["post_ffw_norm"]["scale"].shape == (26, 2304)
  assert shapes["attn"]["kv_einsum"]["w"].shape == (26, 2, 4, 2304, 256)
  fused = full_size("gemma_7b", 224)["llm"]["layers"]["attn"]
  assert fused["qkv_einsum"]["w"].shape == (28, 3, 16, 3072, 256)


def test_a_suffix_token_changes_nothing_before_it(model_and_params, batch):
  before = logits(*model_and_params, batch)
  changed = dict(batch, text=batch["text"].copy())
  changed["text"][:, 6] = (changed["text"][:, 6] + 1) % 128
  after = logits(*model_and_params, changed)
  np.testing.assert_array_equal(after[:, :6], before[:, :6])  # bit for bit
  assert np.abs(after[:, 6:] - before[:, 6:]).max() > 1e-3


def test_a_prefix_token_changes_all_that_sees_it(batch):
  model, params = build()  # "tiny2" would hide it behind its window of 6
  before = logits(model, params, batch)
  changed = dict(batch, text=batch["text"].copy())
  changed["text"][:, 3] += 1
  assert (np.abs(logits(model, params, changed) - before).max(axis=(0, 2)) > 1e-4).all()


def test_pad_content_never_matters(model_and_params, batch):
  valid = np.ones((B, T), np.int32)
  valid[0, 7:], valid[1, 5:] = 0, 0
  before = logits(*model_and_params, dict(batch, valid=valid))
  other = np.where(valid, batch["text"], 99).astype(np.int32)
  after = logits(*model_and_params, dict(batch, valid=valid, text=other))
  np.testing.assert_array_equal(after[valid == 1], before[valid == 1])
  # Trailing padding is hidden from real tokens by causality alone, as training relies on.
  np.testing.assert_allclose(logits(*model_and_params, batch)[valid == 1], before[valid == 1],
                             atol=1e-5)


@pytest.mark.parametrize("prefix", [4, 6])
def test_cached_decode_equals_full_forward(model_and_params, batch, prefix):
  model, params = model_and_params
  full = logits(model, params, dict(batch, mask_ar=np.tile(np.arange(T) >= prefix, (B, 1)).astype(
      np.int32)))
  cut = {k: batch[k][:, :prefix] for k in ("text", "mask_ar")}
  got, cache = model.apply(
      {"params": params}, cut["text"], np.zeros_like(cut["mask_ar"]), batch["image"],
      max_new_tokens=T - prefix, cache_dtype="float32", method="prefill")
  for t in range(prefix, T):
    np.testing.assert_allclose(got, full[:, t - 1], atol=1e-5)
    got, cache = model.apply({"params": params}, batch["text"][:, t], cache, method="extend")
  np.testing.assert_allclose(got, full[:, T - 1], atol=1e-5)


def test_several_images_are_concatenated(batch, rng):
  model, params = build()
  two = rng.integers(0, 256, (B, 2, SIZE, SIZE, 3)).astype(np.uint8)
  embed = lambda image: model.apply({"params": params}, image, method="embed_image")
  np.testing.assert_allclose(
      embed(two), np.concatenate([embed(two[:, 0]), embed(two[:, 1])], axis=1), atol=1e-6)
  assert logits(model, params, dict(batch, image=two)).shape == (B, T, 128)


def test_text_alone_and_float_images(batch):
  model, params = build()
  assert logits(model, params, {k: batch[k] for k in ("text", "mask_ar")}).shape == (B, T, 128)
  floats = dict(batch, image=batch["image"].astype(np.float32) / 127.5 - 1)
  np.testing.assert_allclose(logits(model, params, floats), logits(model, params, batch), atol=1e-5)


def test_wrong_image_size_says_how_to_mend(batch):
  model, params = build()
  with pytest.raises(ValueError, match=r"images of \[16, 16, 3\], not \[8, 8, 3\].*resize\(16\)"):
    logits(model, params, dict(batch, image=batch["image"][:, :8, :8]))


def test_remat_and_unroll_change_no_gradient(batch):
  batch = dict(batch, mask_loss=batch["mask_ar"])
  def grads(**kw):
    config = paligemma.config(dict(variant="tiny", **kw), dict(variant="tiny2", **kw))
    model = paligemma.PaliGemma(config)
    params = jax.jit(lambda: steps.init_params(model, jax.random.key(0), SIZE))()
    loss = lambda p: steps.loss_fn(model, p, batch, jax.random.key(0))[0]
    return jax.jit(jax.grad(loss))(params)
  plain = grads(remat="none")
  for other in (grads(remat="nothing_saveable"), grads(remat="none", unroll=2)):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), plain, other)


def test_bfloat16_activations_keep_float32_parameters_and_logits(batch):
  model = paligemma.PaliGemma(
      paligemma.config(dict(variant="tiny"), dict(variant="tiny2"), dtype="bfloat16"))
  params = jax.jit(lambda: steps.init_params(model, jax.random.key(0), SIZE))()
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
  got = logits(model, params, batch)
  assert got.dtype == np.float32
  exact = paligemma.PaliGemma(paligemma.config(dict(variant="tiny"), dict(variant="tiny2")))
  np.testing.assert_allclose(got, logits(exact, params, batch), atol=0.15)


def test_softcap_bounds_logits_on_every_road(batch):
  model, params = build("tiny2", final_softcap=0.5)
  assert np.abs(logits(model, params, batch)).max() <= 0.5
  got, _ = model.apply({"params": params}, batch["text"], batch["mask_ar"], batch["image"],
                       max_new_tokens=1, cache_dtype="float32", method="prefill")
  assert np.abs(got).max() <= 0.5
