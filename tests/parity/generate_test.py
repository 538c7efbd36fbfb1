"""Live comparison of what is generated: other prompts than those of tests/golden/generate."""
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import numpy as np
import pytest

for peer in ("torch", "transformers", "keras_hub"):
  pytest.importorskip(peer, reason="`make parity` runs these tests in their own venv")

import big_vlm  # noqa: E402
from tests.golden import make_generate as peers  # noqa: E402


@pytest.fixture(autouse=True)
def _keras_promotes_ranks():
  with jax.numpy_rank_promotion("allow"):
    yield


def compare(name, peer, sampler="greedy", stop=(), **options):
  prompts, images = peers.prompts_and_images(name, min(peer.vocab, 128), 50)
  wanted = [peer.generate(p, x, stop=stop, **options) for p, x in zip(prompts, images)]
  got = big_vlm.from_preset(str(peers.HERE / name)).generate(
      [p.tolist() for p in prompts], images, sampler=sampler, stop=stop, max_new_tokens=peers.NEW)
  assert [g.tokens for g in got] == [tokens.tolist() for tokens, _ in wanted]
  if wanted[0][1] is not None:
    np.testing.assert_allclose([sum(g.logprobs) for g in got], [score for _, score in wanted],
                               rtol=0, atol=1e-3)
  return got


@pytest.mark.parametrize("name", peers.HF)
def test_transformers(name):
  peer = peers.Transformers(name)
  got = compare(name, peer)
  stop = got[0].tokens[3]
  assert compare(name, peer, stop=(stop,))[0].finish_reason == "stop"
  for n in (2, 5):
    compare(name, peer, f"beam(n={n})", beams=n)


@pytest.mark.parametrize("name", peers.KERAS)
def test_kerashub(name):
  peer = peers.KerasHub(name)
  got = compare(name, peer)
  assert compare(name, peer, stop=(got[0].tokens[3],))[0].finish_reason == "stop"
