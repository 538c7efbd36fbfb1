import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import trees
from big_vlm.families import opt, paligemma
from big_vlm.nn import layers

B, T, SIZE = 3, 9, 16


def build(llm="tiny", **changes):
  config = paligemma.config(dict(variant="tiny"), dict(variant=llm, **changes))
  model = paligemma.PaliGemma(config)
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  # Norm scales and biases start at zero, where a wrong one would not show.
  keys = iter(jax.random.split(jax.random.key(1), 100))
  params = jax.tree.map(lambda x: x + 0.05 * jax.random.normal(next(keys), x.shape), params)
  return model, params


@pytest.fixture(params=["tiny", "tiny2", "gemma3_tiny", "opt_tiny"], scope="module")
def model_and_params(request):
  return build(request.param)


@pytest.fixture
def batch(rng):
  mask_ar = np.tile((np.arange(T) >= 4).astype(np.int32), (B, 1))  # 4 tokens of prefix
  return dict(text=rng.integers(4, 128, (B, T)).astype(np.int32), mask_ar=mask_ar,
              image=rng.integers(0, 256, (B, SIZE, SIZE, 3)).astype(np.uint8))


@functools.partial(jax.jit, static_argnums=0)
def forward(model, params, batch):
  hidden = model.apply({"params": params}, batch["text"], batch["mask_ar"], batch.get("image"),
                       batch.get("valid"))
  return model.apply({"params": params}, hidden, method="logits")


def logits(model, params, batch):
  return np.asarray(forward(model, params, batch))


@functools.partial(jax.jit, static_argnums=0, static_argnames="max_new_tokens")
def prefill(model, params, text, mask_ar, image=None, *, max_new_tokens):
  return model.apply({"params": params}, text, mask_ar, image, max_new_tokens=max_new_tokens,
                     cache_dtype="float32", method="prefill")


@functools.partial(jax.jit, static_argnums=0)
def extend(model, params, text, cache):
  return model.apply({"params": params}, text, cache, method="extend")


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
  return jax.eval_shape(lambda: paligemma.init_params(model, jax.random.key(0)))


@pytest.mark.parametrize("variant,size", COUNTS)
def test_full_size_parameter_counts(variant, size):
  shapes = full_size(variant, size)
  assert sum(int(np.prod(x.shape, dtype=np.int64)) for x in jax.tree.leaves(shapes)) == COUNTS[
      variant, size]


def test_vault_gemma_counts_as_its_preset_does():
  shapes = paligemma.param_shapes(paligemma.config(llm=dict(variant="vault_gemma_1b")))
  assert sum(int(np.prod(x.shape, dtype=np.int64)) for x in shapes.values()) == 1_038_741_120


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


def check_cached_decode(model, params, batch, prefix):
  """Prefill of `prefix` text tokens and steps after it against one forward over all of them."""
  mask_ar = np.tile(np.arange(T) >= prefix, (B, 1)).astype(np.int32)
  full = logits(model, params, dict(batch, mask_ar=mask_ar))
  got, _, cache = prefill(model, params, batch["text"][:, :prefix], mask_ar[:, :prefix],
                       batch.get("image"), max_new_tokens=T - prefix)
  for t in range(prefix, T):
    np.testing.assert_allclose(got, full[:, t - 1], atol=1e-5)
    got, _, cache = extend(model, params, batch["text"][:, t], cache)
  np.testing.assert_allclose(got, full[:, T - 1], atol=1e-5)


@pytest.mark.parametrize("prefix", [4, 6])
def test_cached_decode_equals_full_forward(model_and_params, batch, prefix):
  check_cached_decode(*model_and_params, batch, prefix)


def test_cached_decode_of_a_text_only_model(batch):
  model = paligemma.PaliGemma(paligemma.config(llm=dict(variant="tiny")))
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  assert set(params) == {"llm"}
  check_cached_decode(model, params, {"text": batch["text"]}, 4)


def test_cached_decode_under_each_window_mode(batch):
  by_mode = {}
  for mode in ("symmetric", "prefix_bidirectional"):
    # Image and prefix are 8 tokens.
    model, params = build("tiny2", window=4, sliding_window_mode=mode)
    check_cached_decode(model, params, batch, 4)
    by_mode[mode] = logits(model, params, batch)
  assert np.abs(by_mode["symmetric"] - by_mode["prefix_bidirectional"]).max() > 1e-3


def test_several_images_are_concatenated(batch, rng):
  model, params = build()
  two = rng.integers(0, 256, (B, 2, SIZE, SIZE, 3)).astype(np.uint8)
  embed = jax.jit(lambda image: model.apply({"params": params}, image, method="embed_image"))
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
  def grads(remat, unroll=1):
    kw = dict(remat=remat, unroll=unroll)
    model = paligemma.PaliGemma(
        paligemma.config(dict(variant="tiny", **kw), dict(variant="tiny2", **kw)))
    args = batch["text"], batch["mask_ar"], batch["image"]
    loss = lambda p: jnp.sum(jnp.square(model.apply({"params": p}, *args, train=True)))
    return jax.jit(jax.grad(loss))(params)
  _, params = build("tiny2")
  plain = grads("none")
  for row in ("full", "save_attn"):
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=2e-4, err_msg=row),
                 plain, grads(row, unroll=2))


@pytest.mark.parametrize("remat", sorted(layers.REMAT))
@pytest.mark.parametrize("llm", ["opt_tiny", "tiny"])
def test_each_row_of_remat_trains_a_text_model(batch, llm, remat):
  model = paligemma.PaliGemma(paligemma.config(None, dict(variant=llm, remat=remat)))
  params = jax.eval_shape(lambda: paligemma.init_params(model, jax.random.key(0)))
  loss = lambda p: jnp.sum(model.apply({"params": p}, batch["text"], batch["mask_ar"], train=True))
  text = str(jax.make_jaxpr(jax.grad(loss))(params))
  assert ("remat" in text or "checkpoint" in text) == (remat != "none")
  assert ("host" in text) == (remat == "offload")


def test_an_unknown_row_of_remat_names_the_known_ones():
  with pytest.raises(ValueError, match="Did you mean 'dots'.*Known: .*full"):
    paligemma.config(dict(variant="tiny", remat="dot"), dict(variant="tiny"))


def test_bfloat16_activations_keep_float32_parameters_and_logits(batch):
  model = paligemma.PaliGemma(
      paligemma.config(dict(variant="tiny"), dict(variant="tiny2"), dtype="bfloat16"))
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
  got = logits(model, params, batch)
  assert got.dtype == np.float32
  exact = paligemma.PaliGemma(paligemma.config(dict(variant="tiny"), dict(variant="tiny2")))
  np.testing.assert_allclose(got, logits(exact, params, batch), atol=0.15)


def test_softcap_bounds_logits_on_every_road(batch):
  model, params = build("tiny2", final_softcap=0.5)
  assert np.abs(logits(model, params, batch)).max() <= 0.5
  got, _, _ = prefill(model, params, batch["text"], batch["mask_ar"], batch["image"],
                   max_new_tokens=1)
  assert np.abs(got).max() <= 0.5


@pytest.mark.parametrize("img,llm,dtype", [
    (dict(variant="tiny"), dict(variant="tiny2"), "float32"),
    (dict(variant="So400m/14", image_size=448), dict(variant="gemma2_2b", window=None), "bfloat16"),
    (None, dict(variant="opt_2.7b", dropout=0.1), "float32"),
    (None, dict(variant="vault_gemma_1b"), "bfloat16"),
    (dict(variant="B/16", pool="map", out_width=7), None, "float32"),
    (dict(variant="tiny", remat="none"), dict(variant="opt_tiny", max_positions=9), "float32"),
])
def test_a_config_is_made_again_from_its_dict(img, llm, dtype):
  config = paligemma.config(img, llm, dtype)
  assert paligemma.config(**paligemma.to_dict(config)) == config


def test_an_unknown_decoder_gets_a_near_miss_of_either_family():
  for name, near in (("opt_1.3", "opt_1.3b"), ("gemma2_2", "gemma2_2b")):
    with pytest.raises(ValueError, match=f"decoder variant '{name}'. Did you mean '{near}'"):
      paligemma.config(llm=dict(variant=name))


def test_outputs_are_what_the_plain_forward_computes(model_and_params, batch):
  model, params = model_and_params
  image = np.stack([batch["image"], batch["image"][::-1]], axis=1)  # 2 images of 4 patches each
  out = jax.jit(lambda p: paligemma.outputs(model, p, batch["text"], batch["mask_ar"], image))(
      params)
  n, heads = model.config.llm.depth, model.config.llm.heads
  assert {k: v.shape for k, v in out.items()} == {
      "hidden": (n + 1, B, 8 + T, 32), "attention": (n, B, heads, 8 + T, 8 + T),
      "image_hidden": (3, B, 8, 32), "image_attention": (2, 2 * B, 4, 4, 4),
      "image_encoded": (B, 8, 32), "image": (B, 8, 32)}

  plain = jax.jit(lambda method, *args: model.apply({"params": params}, *args, method=method),
                  static_argnums=0)
  hidden = plain("__call__", batch["text"], batch["mask_ar"], image)
  is_opt = isinstance(model.config.llm, opt.OPTConfig)
  norm = layers.LayerNorm(1e-5) if is_opt else layers.RMSNorm()
  last = norm.apply({"params": params["llm"]["final_norm"]}, out["hidden"][-1, :, -T:])
  np.testing.assert_allclose(last, hidden, atol=1e-5)
  features = plain("embed_image", image)
  np.testing.assert_allclose(out["image"], features, atol=1e-5)
  if not is_opt:  # which adds positions
    np.testing.assert_allclose(out["hidden"][0, :, :8], features, atol=1e-5)
  head = params["img"]["head"]
  np.testing.assert_allclose(
      out["image_encoded"] @ head["kernel"] + head["bias"][None, None], features, atol=1e-5)
  encoded = layers.LayerNorm().apply(
      {"params": params["img"]["Transformer"]["encoder_norm"]}, out["image_hidden"][-1])
  np.testing.assert_allclose(encoded, out["image_encoded"], atol=1e-5)

  for probs in (out["attention"], out["image_attention"]):
    np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-5)
  assert not np.triu(out["attention"][..., 12:, 12:], 1).any()  # 8 of images, 4 of prefix: causal


def test_outputs_of_text_alone_and_of_a_tower_alone(batch):
  model, params = build()
  out = jax.eval_shape(
      lambda: paligemma.outputs(model, params, batch["text"], batch["mask_ar"]))
  assert set(out) == {"hidden", "attention"}
  tower = paligemma.PaliGemma(paligemma.config(dict(variant="tiny", pool="map")))
  params = jax.jit(lambda: paligemma.init_params(tower, jax.random.key(0)))()
  out = jax.jit(lambda: paligemma.outputs(tower, params, image=batch["image"]))()
  assert out["image"].shape == (B, 32) and out["image_encoded"].shape == (B, 4, 32)
  np.testing.assert_allclose(
      out["image"], tower.apply({"params": params}, batch["image"], method="embed_image"),
      atol=1e-5)
