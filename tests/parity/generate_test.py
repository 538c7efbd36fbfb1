"""Live comparison of what is generated: other prompts than those of tests/golden/generate."""
import itertools
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import numpy as np
import pytest

for reference in ("torch", "transformers", "keras_hub"):
  pytest.importorskip(reference, reason="`make parity` runs these tests in their own venv")

import big_vlm  # noqa: E402
from tests.golden import make_generate as references  # noqa: E402


@pytest.fixture(autouse=True)
def _keras_promotes_ranks():
  with jax.numpy_rank_promotion("allow"):
    yield


def compare(name, reference, sampler="greedy", stop=(), ours=(), **options):
  """What both generate is equal; ours: options of generate() that `options` are elsewhere."""
  prompts, images = references.prompts_and_images(name, min(reference.vocab, 128), 50)
  wanted = [reference.generate(p, x, stop=stop, **options) for p, x in zip(prompts, images)]
  vlm = big_vlm.from_preset(str(references.HERE / name))
  got = vlm.generate([p.tolist() for p in prompts], images, sampler=sampler, stop=stop,
                     max_new_tokens=references.NEW, **dict(ours))
  assert [g.tokens for g in got] == [tokens.tolist() for tokens, _ in wanted]
  if wanted[0][1] is not None and not ours:  # theirs are of the changed logits
    np.testing.assert_allclose([sum(g.logprobs) for g in got], [score for _, score in wanted],
                               rtol=0, atol=1e-3)
  return got


@pytest.mark.parametrize("name", references.HF)
def test_transformers(name):
  reference = references.Transformers(name)
  got = compare(name, reference)
  stop = got[0].tokens[3]
  assert compare(name, reference, stop=(stop,))[0].finish_reason == "stop"
  rules = dict(repetition_penalty=1.3, min_new_tokens=6)
  changed = compare(name, reference, stop=(stop,), ours=rules, more=rules)
  assert [g.tokens for g in changed] != [g.tokens for g in got]
  bias = {int(t): -5. for t in got[0].tokens}
  compare(name, reference, ours={"logit_bias": bias},
          more={"sequence_bias": {(t,): x for t, x in bias.items()}})
  for n in (2, 5):
    compare(name, reference, f"beam(n={n})", beams=n)
  several_beams(name, reference, stop)


def several_beams(name, reference, stop):
  """The three best of five beams, for each length penalty and way to stop."""
  prompts, images = references.prompts_and_images(name, min(reference.vocab, 128), 50)
  vlm = big_vlm.from_preset(str(references.HERE / name))
  for penalty, early in itertools.product((-1., 1.), (False, True, "never")):
    more = dict(length_penalty=penalty, early_stopping=early, num_return_sequences=3)
    wanted = [x for p, image in zip(prompts, images)
              for x in reference.generate_all(p, image, (stop,), 5, more)]
    got = vlm.generate([p.tolist() for p in prompts], images, stop=(stop,), num_samples=3,
                       sampler=f"hf_beam(5, {penalty}, {early!r})",
                       max_new_tokens=references.NEW)
    assert [g.tokens for g in got] == [tokens.tolist() for tokens, _ in wanted]
    np.testing.assert_allclose([sum(g.logprobs) for g in got], [score for _, score in wanted],
                               rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", references.KERAS)
def test_kerashub(name):
  reference = references.KerasHub(name)
  got = compare(name, reference)
  assert compare(name, reference, stop=(got[0].tokens[3],))[0].finish_reason == "stop"
