"""SigLIP's two towers: transformers' numbers, and what they say of wrong configs and inputs."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm.checkpoints import hf
from big_vlm.checkpoints.hf_test import GOLDEN, tree
from big_vlm.checkpoints.load import parts
from big_vlm.families import paligemma
from big_vlm.families.siglip import naflex

PAIRS = ["hf_siglip_pair", "hf_siglip2", "hf_siglip2_naflex"]
CLOSE = dict(rtol=0, atol=1e-5)  # 2e-6 apart; 1e-4 is promised


@functools.partial(jax.jit, static_argnums=0)
def embed(config, params, text, image, grid):
  return paligemma.PaliGemma(config).apply({"params": params}, text, image, grid, method="towers")


@pytest.mark.parametrize("name", PAIRS)
def test_embeddings_and_logits_are_those_of_transformers(name):
  golden, source = np.load(GOLDEN / name / "pair.npz"), hf.open_source(GOLDEN / name)
  image = (golden["patches"], golden["grid"]) if "grid" in golden else (golden["image"], None)
  params = tree(source.leaves)
  zt, zi = map(np.asarray, embed(source.config, params, golden["ids"], *image))
  np.testing.assert_allclose(zi, golden["image_embeds"], **CLOSE)
  np.testing.assert_allclose(zt, golden["text_embeds"], **CLOSE)
  logits = zi @ zt.T * np.exp(params["t"]) + params["b"]
  np.testing.assert_allclose(logits, golden["logits"], **CLOSE)


def test_what_lies_in_naflex_padding_changes_nothing():
  golden = np.load(GOLDEN / "hf_siglip2_naflex" / "pair.npz")
  source = hf.open_source(GOLDEN / "hf_siglip2_naflex")
  run = lambda patches: embed(source.config, tree(source.leaves), None, patches, golden["grid"])[1]
  padding = ~np.asarray(naflex.valid(jnp.asarray(golden["grid"]), golden["patches"].shape[1]))
  assert padding.any()
  longer = np.pad(np.where(padding[..., None], 9., golden["patches"]), ((0, 0), (0, 8), (0, 0)))
  np.testing.assert_allclose(run(longer), run(golden["patches"]), atol=1e-6)


def test_a_fixed_tower_from_naflex_sees_square_images_as_it_does(rng):
  """init.img of a NaFlex checkpoint: the position table is resampled by NaFlex' own rule."""
  source = hf.open_source(GOLDEN / "hf_siglip2_naflex")  # a table of 4 x 4
  config = paligemma.config(dict(variant="tiny", mlp=40, patch=4, image_size=24, pool="map"))
  params = tree(parts({"img": source}, config))
  image = rng.uniform(-1, 1, (1, 24, 24, 3)).astype(np.float32)
  patches = image.reshape(1, 6, 4, 6, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(1, 36, 48)
  _, wanted = embed(source.config, tree(source.leaves), None, patches, np.array([[6, 6]]))
  _, found = embed(config, params, None, image, None)
  np.testing.assert_allclose(found, wanted, **CLOSE)


def test_training_from_scratch_begins_with_a_scale_of_10_and_a_bias_of_minus_10():
  model = paligemma.PaliGemma(paligemma.config(
      dict(variant="tiny"), txt=dict(variant="text_tiny", bias_init=-2.71)))
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  assert np.exp(params["t"]).tolist() == pytest.approx([10])
  assert params["b"].tolist() == pytest.approx([-2.71])


@pytest.mark.parametrize("parts, words", [
    (dict(img=dict(variant="tiny"), txt=dict(variant="text_tiny", out_width=16)), "same width"),
    (dict(img=dict(variant="tiny", pool="none"), txt=dict(variant="text_tiny")), "same width"),
    (dict(llm=dict(variant="tiny"), txt=dict(variant="text_tiny")), "not both"),
    (dict(img=dict(variant="tiny", naflex=True, pool="map"), llm=dict(variant="tiny")), "init.img"),
    (dict(img=dict(variant="tiny", naflex=True)), "A NaFlex tower pools"),
    (dict(txt=dict(variant="text_tiny", temperature_init=0.)), "not above 0"),
    (dict(txt=dict(variant="text_tny")), "Did you mean 'text_tiny'")])
def test_configs_of_no_model(parts, words):
  with pytest.raises(ValueError, match=words):
    paligemma.config(**parts)


@pytest.mark.parametrize("row", [
    {"length": "8"}, {"length": 0}, {"pad_token": -1}, {"out_width": 1.5}, {"vocab_size": 10**9}])
def test_sizes_of_no_text_tower(row):
  with pytest.raises(ValueError, match=f"{next(iter(row))} is .*, not a whole number from"):
    paligemma.own_config({"txt": {"variant": "text_tiny", **row}})


def test_inputs_of_another_shape():
  fixed = paligemma.config(txt=dict(variant="text_tiny"))
  with pytest.raises(ValueError, match="takes 8 tokens, padding included, not 7"):
    jax.eval_shape(lambda: paligemma.PaliGemma(fixed).init(
        jax.random.key(0), jnp.zeros((1, 7), jnp.int32), method="towers"))
  flexible = paligemma.config(img=dict(variant="tiny", naflex=True, pool="map"))
  with pytest.raises(ValueError, match=r"takes patches \[B, P, 192\]"):
    jax.eval_shape(lambda: paligemma.PaliGemma(flexible).init(
        jax.random.key(0), jnp.zeros((1, 16, 16, 3)), method="embed_image"))
