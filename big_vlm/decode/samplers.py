"""Samplers choose a token from logits. Several are joined with "|", left to right.

  "greedy"   "temperature(0.7)"   "top_k(k=5, t=1.)"   "top_k(40)|top_p(.9)|temperature(.7)"
  "best_of(n=4, sampler='top_p(.9)')"   "beam(n=4)"   "contrastive(k=5, alpha=.6)"
  "hf_beam(n=4, length_penalty=1.)"   "prompt_lookup(drafts=8)"

In Python the functions of these names make the same: big_vlm.samplers.top_k(40) | top_p(.9).
A sampler is a pytree: its numbers are traced, so a new temperature does not recompile.
R requests, V vocabulary.
"""
import functools
import math

import flax.struct
import jax
import jax.numpy as jnp

from big_vlm.decode import beams, search
from big_vlm.decode.prompt_lookup import PromptLookup
from pp.builder import split_pipeline
from pp.registry import Registry

Search = search.Sample | search.Contrastive | beams.Beam | beams.HFBeam  # what build() returns
SAMPLERS = Registry("sampler")
LEAST = 1e-9  # of temperatures and probabilities: far smaller ones are 0 as float32


def build(sampler):
  """The search that a string names; one that a function here made is returned as it is.

  Raises ValueError for an unknown name, a wrong argument, and anything else.
  """
  if isinstance(sampler, Search):
    return sampler
  if not isinstance(sampler, str):
    raise ValueError(f"A sampler is a string such as 'top_p(.9)|temperature(.7)', or what "
                     f"big_vlm.samplers.top_p(.9) makes, not a {type(sampler).__name__}.")
  parts = [SAMPLERS.build(part) for part in split_pipeline(sampler) or [sampler]]
  return functools.reduce(search.join, parts)


@flax.struct.dataclass
class Temperature:
  t: float

  def __call__(self, logits):
    return logits / self.t


@flax.struct.dataclass
class TopK:
  k: int = flax.struct.field(pytree_node=False)

  def __call__(self, logits):
    least = jax.lax.top_k(logits, min(self.k, logits.shape[-1]))[0][:, -1:]
    return jnp.where(logits >= least, logits, -jnp.inf)


@flax.struct.dataclass
class TopP:
  p: float

  def __call__(self, logits):
    """Keeps the smallest set of most likely tokens whose probabilities add up to p.

    Bisection over the bits of a float32, which sort as the numbers do, finds the least probability
    of the set: 31 sums instead of a sort of V, and exact.
    """
    probs = jax.nn.softmax(logits)
    bits = jax.lax.bitcast_convert_type(probs, jnp.int32)

    def narrow(_, bounds):
      low, high = bounds  # the set of all probabilities from `low` on reaches p
      middle = (low + high + 1) // 2
      reached = jnp.sum(jnp.where(bits >= middle[:, None], probs, 0), axis=-1) >= self.p
      return jnp.where(reached, middle, low), jnp.where(reached, high, middle - 1)

    # 0x3f800000 is 1.0. The most likely token is always in the set: p is above 0.
    low = jnp.zeros(len(logits), jnp.int32)
    low, _ = jax.lax.fori_loop(0, 31, narrow, (low, jnp.full_like(low, 0x3f800000)))
    return jnp.where(bits >= low[:, None], logits, -jnp.inf)


@flax.struct.dataclass
class MinP:
  p: float

  def __call__(self, logits):
    least = jnp.max(logits, axis=-1, keepdims=True) + jnp.log(self.p)
    return jnp.where(logits >= least, logits, -jnp.inf)


@SAMPLERS.register("greedy")
def greedy():
  """The most likely token (argmax)."""
  return search.Sample((), draw=False)


@SAMPLERS.register("temperature")
def temperature(t=1.0):
  """Draws from softmax(logits / t)."""
  _check(_number(t) and t >= LEAST, f"temperature({t!r})",
         f"it is a finite number of {LEAST} or more; 'greedy' is its limit")
  return search.Sample((Temperature(float(t)),), draw=True)


@SAMPLERS.register("top_k")
def top_k(k=5, t=1.0):
  """Draws from the k most likely (Fan et al. 2018) at temperature t."""
  _check(_whole(k), f"top_k({k!r})", "k is a number of tokens, 1 or more")
  return _after_temperature(TopK(k), t)


@SAMPLERS.register("top_p")
def top_p(p=0.9, t=1.0):
  """Draws from the smallest set that has probability p at temperature t (arXiv 1904.09751)."""
  _check(_number(p) and LEAST <= p <= 1, f"top_p({p!r})", f"p is a probability from {LEAST} to 1")
  return _after_temperature(TopP(float(p)), t)


@SAMPLERS.register("min_p")
def min_p(p=0.1, t=1.0):
  """Draws from tokens at least p times as likely as the argmax (arXiv 2407.01082)."""
  _check(_number(p) and LEAST <= p <= 1, f"min_p({p!r})",
         f"p is a fraction of the top probability, from {LEAST} to 1")
  return _after_temperature(MinP(float(p)), t)


@SAMPLERS.register("best_of")
def best_of(n=4, sampler="temperature(1.)"):
  """Of n draws the one whose tokens' log-probabilities have the largest sum."""
  _check(_whole(n), f"best_of({n!r})", "n is a number of draws, 1 or more")
  each = build(sampler)
  _check(isinstance(each, search.Sample) and each.draw and each.n == 1, f"best_of({sampler!r})",
         "it needs a sampler that draws: temperature, top_k, top_p or min_p")
  return each.replace(n=n)


@SAMPLERS.register("beam")
def beam(n=4):
  """big_vision's beam search of n beams: exact stop, no length penalty."""
  _check(_whole(n), f"beam({n!r})", "n is a number of beams, 1 or more")
  return beams.Beam(n)


@SAMPLERS.register("hf_beam")
def hf_beam(n=4, length_penalty=1.0, early_stopping=False):
  """transformers' beam search (num_beams=n), with num_samples=m the m <= n best of its beams."""
  _check(_whole(n), f"hf_beam({n!r})", "n is a number of beams, 1 or more")
  # A length to a larger power may leave float32, as 1,000 ** 13 does, and no beam would count.
  _check(_number(length_penalty) and abs(length_penalty) <= 10,
         f"hf_beam(length_penalty={length_penalty!r})",
         "it is a number from -10 to 10; above 0 favours long answers")
  _check(isinstance(early_stopping, bool) or early_stopping == "never",
         f"hf_beam(early_stopping={early_stopping!r})", "it is False, True or 'never'")
  return beams.HFBeam(n, float(length_penalty), early_stopping)


@SAMPLERS.register("prompt_lookup")
def prompt_lookup(drafts=8):
  """The tokens of "greedy", several at a time where the answer repeats the prompt or itself."""
  _check(_whole(drafts), f"prompt_lookup({drafts!r})", "drafts is a number of tokens, 1 or more")
  return PromptLookup(drafts=drafts)


@SAMPLERS.register("contrastive")
def contrastive(k=5, alpha=0.6):
  """Contrastive search (arXiv 2202.06417, equation 5): of the k most likely tokens the one with the
  best (1 - alpha) * probability - alpha * largest cosine to a hidden state before it."""
  _check(_whole(k), f"contrastive({k!r})", "k is a number of tokens, 1 or more")
  _check(_number(alpha) and 0 <= alpha <= 1, f"contrastive(alpha={alpha!r})", "alpha is in 0..1")
  return search.Contrastive(k, float(alpha))


def _after_temperature(keep, t):
  return search.Sample(temperature(t).filters + (keep,), draw=True)


def _number(x):
  return isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)


def _whole(x):
  return isinstance(x, int) and not isinstance(x, bool) and x >= 1


def _check(fine, call, rule):
  if not fine:
    raise ValueError(f"{call}: {rule}.")
