import dataclasses

import jax
import numpy as np
import pytest

import big_vlm
from big_vlm import image_input, prompt_input
from big_vlm.attention_map import attention_map
from big_vlm.checkpoints import native
from big_vlm.decode.answers import Generation
from big_vlm.families import paligemma

PROMPT, TOKENS = "detect 3", [700, 900, 455, 1]


@pytest.fixture(scope="module")
def vlm(tmp_path_factory, tokenizer, mesh1):
  folder = tmp_path_factory.mktemp("model")
  model = dict(img=dict(variant="tiny"), llm=dict(variant="tiny", vocab_size=1632))
  native.write_model(folder, model, tokenizer)
  return big_vlm.from_preset(folder, load_weights=False, mesh=mesh1)


@pytest.fixture(scope="module")
def attend(vlm):
  return jax.jit(lambda *args: paligemma.outputs(vlm.model, vlm.params, *args)["attention"])


@pytest.fixture
def image(rng):
  return rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)


def answer(*tokens):
  return Generation("", list(tokens), [0.] * len(tokens), "length")


def by_hand(vlm, attend, image, tokens):
  """[N, tokens, grid, grid]: of the position before each token, without padding."""
  ids = prompt_input.ids(PROMPT, vlm.tokenizer)
  text = np.array([ids + tokens[:-1]], np.int32)
  mask_ar = (np.arange(text.shape[1]) >= len(ids)).astype(np.int32)[None]
  probs = attend(text, mask_ar, image_input.pixels(image, vlm.image_size)[None])
  grid = vlm.config.img.image_size // vlm.config.img.patch
  patches = grid**2
  looks = probs.mean(2)[:, 0, patches + len(ids) - 1:, :patches]
  assert looks.shape[1] == len(tokens)
  return np.asarray(looks).reshape(len(looks), -1, grid, grid)


def normalised(looks):
  return looks / looks.sum((-2, -1), keepdims=True)


def test_the_position_before_each_token_mean_of_heads_and_layers(vlm, attend, image):
  looks = by_hand(vlm, attend, image, TOKENS)
  got = attention_map(vlm, PROMPT, image, answer(*TOKENS))
  assert got.dtype == np.float32
  np.testing.assert_allclose(got, normalised(looks.mean(0)), rtol=1e-4)
  np.testing.assert_allclose(got.sum((1, 2)), 1, rtol=1e-5)
  assert np.abs(got[0] - got[1]).max() > 1e-4  # tokens look at different places


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_one_layer(vlm, attend, image, layer):
  looks = by_hand(vlm, attend, image, TOKENS)
  np.testing.assert_allclose(attention_map(vlm, PROMPT, image, answer(*TOKENS), layer),
                             normalised(looks[layer]), rtol=1e-4)


def test_a_token_does_not_know_what_follows(vlm, image):
  short, long = (attention_map(vlm, PROMPT, image, answer(*range(700, 700 + n))) for n in (2, 40))
  np.testing.assert_allclose(short, long[:2], rtol=1e-4)


def test_an_empty_answer(vlm, image):
  assert attention_map(vlm, PROMPT, image, answer()).shape[0] == 0


def test_what_cannot_be_mapped(vlm, image):
  with pytest.raises(ValueError, match="layer 2; the decoder has 0..1"):
    attention_map(vlm, PROMPT, image, answer(1), layer=2)
  text_only = paligemma.PaliGemma(dataclasses.replace(vlm.config, img=None))
  with pytest.raises(ValueError, match="no image tower"):
    attention_map(dataclasses.replace(vlm, model=text_only), PROMPT, image, answer(1))
