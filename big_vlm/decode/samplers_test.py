import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from big_vlm.decode import samplers, search

SETTINGS = settings(max_examples=40, deadline=None)
LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12)


def kept(text, logits):
  """The ids that the filters of a sampler leave."""
  out = np.asarray([logits], np.float32)
  for keep in samplers.build(text).filters:
    out = jax.jit(keep.__call__)(out)
  return set(np.flatnonzero(np.isfinite(np.asarray(out)[0])).tolist())


def test_top_k_keeps_the_k_likeliest():
  assert kept("top_k(2)", [0., 3., 1., 2.]) == {1, 3}
  assert kept("top_k(k=9)", [0., 3.]) == {0, 1}


def test_top_p_keeps_the_smallest_set_that_reaches_p():
  logits = np.log([.5, .3, .15, .05])
  for p, want in [(.4, {0}), (.6, {0, 1}), (.79, {0, 1}), (.9, {0, 1, 2}), (1., {0, 1, 2, 3})]:
    assert kept(f"top_p({p})", logits) == want, p
  assert kept("top_p(1e-9)", logits) == {0}


@SETTINGS
@given(LOGITS, st.floats(.01, .99))
def test_top_p_equals_a_sort(logits, p):
  probs = np.asarray(jax.nn.softmax(np.float32(logits)), np.float64)
  order = np.argsort(-probs, kind="stable")
  before = np.cumsum(probs[order]) - probs[order]
  least = probs[order][before < p].min()
  sure = np.abs(before - p).min() > 1e-5  # else rounding decides
  if sure:
    assert kept(f"top_p({p})", logits) == set(np.flatnonzero(probs >= least).tolist())


def test_min_p_is_relative_to_the_likeliest():
  assert kept("min_p(.5)", np.log([.5, .26, .24])) == {0, 1}


def test_filters_apply_from_left_to_right():
  logits = np.log([.4, .3, .2, .1])
  assert kept("top_k(2)|top_p(.5)", logits) == {0}  # .4 of .7 is 57 %
  assert kept("top_p(.5)|top_k(2)", logits) == {0, 1}
  assert kept("temperature(100.)|top_p(.5)", logits) == {0, 1}
  assert len(kept("top_p(p=.9, t=100.)", logits)) == 4


def test_draws_follow_the_distribution():
  """Of a vocabulary of one block of draw(), and of one that ends within its third."""
  temperature, = samplers.build("temperature(2.)").filters
  place = np.zeros(4000, np.int32)
  for at in ([0, 1, 2, 3], [5, 127, 128, 299]):
    logits = np.full((1, at[-1] + 1), -np.inf, np.float32)
    logits[0, at] = np.log([.64, .16, .16, .04])
    drawn = jax.jit(search.draw)(np.arange(4000, dtype=np.uint32), place, np.tile(
        temperature(logits), (4000, 1)))
    share = np.bincount(drawn, minlength=at[-1] + 1)[at] / 4000
    np.testing.assert_allclose(share, [4 / 9, 2 / 9, 2 / 9, 1 / 9], atol=0.03)


def test_what_the_names_build():
  assert samplers.build("greedy") == search.Sample((), draw=False)
  assert samplers.build("best_of(n=3, sampler='top_k(4)|min_p(.1)')").n == 3
  assert samplers.build("beam(n=4)").n == 4
  assert samplers.build("contrastive(k=4, alpha=.5)") == search.Contrastive(4, .5)


def test_functions_make_what_strings_name():
  assert samplers.build("top_k(4)|top_p(.9)") == samplers.top_k(4) | samplers.top_p(.9)
  assert samplers.best_of(3, samplers.min_p(.1)) == samplers.build("best_of(3, 'min_p(.1)')")
  beam = samplers.beam(2)
  assert samplers.build(beam) is beam
  for wrong in (lambda: beam | samplers.top_p(.9), lambda: samplers.greedy() | samplers.top_k(2)):
    with pytest.raises(ValueError, match="cannot be joined"):
      wrong()
  for wrong in (samplers.top_p, 0.7, ["top_p(.9)"]):
    with pytest.raises(ValueError, match="A sampler is a string such as.*big_vlm.samplers.top_p"):
      samplers.build(wrong)


@pytest.mark.parametrize("text,message", [
    ("greddy", "Unknown sampler 'greddy'. Did you mean 'greedy'"),
    ("temperature(0)", "of 1e-09 or more; 'greedy' is its limit"),
    ("temperature(1e-40)", "of 1e-09 or more"),
    ("top_p(p=2)", "p is a probability from 1e-09 to 1"),
    ("top_p(0)", "from 1e-09"),
    ("min_p(1e-46)", "from 1e-09"),
    ("top_k(0)", "1 or more"),
    ("top_k(1.5)", "1 or more"),
    ("top_k(q=1)", "It takes top_k"),
    ("beam(0)", "1 or more"), ("hf_beam(0)", "1 or more"), ("prompt_lookup(0)", "1 or more"),
    ("hf_beam(2, length_penalty=None)", "from -10 to 10"), ("hf_beam(2, -40.)", "from -10 to 10"),
    ("hf_beam(2, early_stopping='always')", "False, True or 'never'"),
    ("best_of(2, 'greedy')", "needs a sampler that draws"),
    ("beam(2)|top_p(.9)", "cannot be joined"),
    ("contrastive(alpha=2)", "alpha is in 0..1"),
    ("", "Cannot parse"),
])
def test_errors(text, message):
  with pytest.raises(ValueError, match=message):
    samplers.build(text)
