"""Small models that the tests of the public interface share, each made once for a file."""

import jax
import numpy as np
import pytest

import big_vlm
from big_vlm.checkpoints import native
from big_vlm.families import paligemma
from big_vlm.vlm import VLM

MODEL = dict(img=dict(variant="tiny"), llm=dict(variant="tiny", vocab_size=1632))


@pytest.fixture(scope="module")
def source(tmp_path_factory, tokenizer):
  """A work folder as training leaves it, but for the checkpoint itself."""
  folder = tmp_path_factory.mktemp("model")
  native.write_model(folder, MODEL, tokenizer)
  return folder


@pytest.fixture(scope="session")
def stirred():
  """A function that gives a VLM blocks which outweigh the embedding: else every token predicts
  itself again."""
  def stir(vlm):
    keys = iter(jax.random.split(jax.random.key(1), 100))
    vlm.params["llm"]["layers"] = jax.tree.map(
        lambda x: x + 0.5 * jax.random.normal(next(keys), x.shape), vlm.params["llm"]["layers"])
    return vlm
  return stir


@pytest.fixture(scope="module")
def vlm(source, mesh1, stirred):
  return stirred(big_vlm.from_preset(source, load_weights=False, mesh=mesh1))


@pytest.fixture(scope="module")
def text_only(mesh1, stirred):
  """A Gemma without a tokenizer."""
  model = paligemma.PaliGemma(paligemma.config(llm=dict(variant="tiny2")))
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  return stirred(VLM(model, params, None, mesh1, None, "test"))


@pytest.fixture
def image(rng):
  return rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
