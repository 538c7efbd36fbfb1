"""Presets that we write, opened and run by KerasHub itself (keras 3.15, keras-hub 0.32)."""
import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import trees
from big_vlm.checkpoints import checkpoint, keras
from big_vlm.families import gemma, gemma3, opt, paligemma
from big_vlm.families import siglip as vit
from big_vlm.formats import h5
from pp import ops_image

keras_hub = pytest.importorskip("keras_hub")
GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
IMG = dict(patch=4, image_size=16, width=24, mlp=40, heads=2, depth=3)
CONFIGS = {  # heads * head_dim is not the width, and depth not that of the golden models
    "PaliGemma": (vit.config("tiny", **IMG, out_width=32), gemma.config("tiny", head_dim=12)),
    "PaliGemma 2": (vit.config("tiny", **IMG, out_width=32), gemma.config("tiny2", window=None)),
    "Gemma": (None, gemma.config("tiny", heads=4, kv_heads=4, depth=3)),
    "Gemma 2": (None, gemma.config("tiny2", window=4)),
    "VaultGemma": (None, gemma.config("tiny", kv_heads=4, final_softcap=5.)),
    "Gemma 3": (None, gemma3.config("gemma3_tiny", depth=7, global_every=6)),
    "OPT": (None, opt.config("opt_tiny", depth=3)),
}
GREY_LEVEL = 1.01 / 127.5
TOWER = vit.config("tiny", **IMG, pool="map")


@pytest.fixture(autouse=True)
def _keras_promotes_ranks():
  with jax.numpy_rank_promotion("allow"):
    yield


def random_source(img, llm, tokenizer=None, dtype="float32"):
  """A Source of random parameters, norms and biases far from 1 and 0."""
  config, rng = paligemma.PaliGemmaConfig(img, llm), np.random.default_rng(0)

  def draw(name, shape):
    x = rng.normal(size=shape).astype(np.float32)
    if name.endswith("/scale"):
      norm = "Transformer" in name or "MAPHead" in name or isinstance(llm, opt.OPTConfig)
      return 0.3 * x + norm
    return x * (0.3 if name.endswith("/bias") else 0.2)

  shapes = paligemma.param_shapes(config)
  leaves = {n: checkpoint.from_array(draw(n, s.shape).astype(jnp.dtype(dtype)))
            for n, s in shapes.items()}
  return checkpoint.Checkpoint("random", config, leaves, tokenizer)


def nested(leaves):
  arrays = {n: jnp.asarray(x.read(()), jnp.float32) for n, x in leaves.items()}
  return {"params": trees.nested(arrays)}


def our_logits(opened, ids, mask_ar, valid, image):
  model = paligemma.PaliGemma(opened.config)

  @jax.jit
  def run(params):
    hidden = model.apply(params, ids, mask_ar, image, valid)
    return model.apply(params, hidden, method="logits")
  return run(nested(opened.leaves))


def their_logits(backbone, ids, response, padding, image):
  x = {"token_ids": ids, "padding_mask": padding}
  if image is not None:
    x |= {"images": image, "response_mask": response}
  hidden = backbone(x, training=False)
  return np.asarray(backbone.token_embedding(hidden[:, -ids.shape[1]:], reverse=True))


@pytest.mark.parametrize("dtype,max_shard", [("float32", h5.MAX_SHARD), ("bfloat16", 30_000)])
@pytest.mark.parametrize("name", CONFIGS)
def test_kerashub_opens_what_we_write_and_gives_our_logits(name, dtype, max_shard, tmp_path):
  mine = random_source(*CONFIGS[name], dtype=dtype)
  keras.write(tmp_path, mine, lambda done, total: None, max_shard)
  assert (tmp_path / "model.weights.json").exists() == (max_shard == 30_000)
  backbone = keras_hub.models.Backbone.from_preset(str(tmp_path), dtype="float32")

  rng = np.random.default_rng(1)
  ids = rng.integers(4, mine.config.llm.vocab_size, (2, 12)).astype(np.int32)
  padding = (np.arange(12) < np.array([[12], [9]])).astype(np.int32)
  response = np.broadcast_to(np.arange(12) >= 5, (2, 12)).astype(np.int32)
  causal = mine.config.img is None
  image = None if causal else rng.uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
  ours = our_logits(mine, ids, np.ones_like(ids) if causal else response, padding, image)
  theirs = their_logits(backbone, ids, response, padding, image)
  real = padding.astype(bool)
  np.testing.assert_allclose(theirs[real], ours[real], atol=1e-4, rtol=0)
  assert np.abs(ours).max() > 1


@pytest.mark.parametrize("max_shard", [h5.MAX_SHARD, 10_000])
def test_kerashub_opens_our_tower_and_gives_our_features(max_shard, tmp_path):
  mine = random_source(TOWER, None)
  keras.write(tmp_path, mine, lambda done, total: None, max_shard)
  theirs = keras_hub.models.Backbone.from_preset(str(tmp_path))
  image = np.random.default_rng(1).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
  model = paligemma.PaliGemma(mine.config)
  ours = jax.jit(lambda p: model.apply(p, image, method="embed_image"))(nested(mine.leaves))
  np.testing.assert_allclose(np.asarray(theirs({"images": image})), ours, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name,task", [
    ("paligemma", "PaliGemmaCausalLM"), ("gemma", "GemmaCausalLM"), ("gemma2", "GemmaCausalLM"),
    ("opt", "OPTCausalLM")])
def test_generate_of_the_task_is_that_of_the_preset_it_came_from(name, task, tmp_path):
  first = GOLDEN / f"keras_{name}"
  keras.write(tmp_path, keras.open_source(first), lambda done, total: None)
  ours, theirs = (getattr(keras_hub.models, task).from_preset(str(p)) for p in (tmp_path, first))
  ours.compile(sampler="greedy")
  theirs.compile(sampler="greedy")
  prompt = "the cat"
  if name == "paligemma":
    prompt = {"prompts": ["detect the cat<loc0007>\n"], "images": np.zeros((1, 16, 16, 3))}
  got = ours.generate(prompt, max_length=24, stop_token_ids=None)
  want = theirs.generate(prompt, max_length=24, stop_token_ids=None)
  assert got == want and len(got if isinstance(got, str) else got[0]) > len("the cat")


def test_images_are_squashed_to_what_the_models_were_trained_with(tmp_path):
  keras.write(tmp_path, random_source(*CONFIGS["PaliGemma"]), lambda done, total: None)
  converter = keras_hub.layers.ImageConverter.from_preset(str(tmp_path))
  image = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
  ours = ops_image.resize_image(image, (16, 16), "bilinear", antialias=True) / 127.5 - 1
  np.testing.assert_allclose(np.asarray(converter(image)), ours, atol=GREY_LEVEL)
