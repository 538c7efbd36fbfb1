"""Do two sides agree on the probes, and if not, which reading of a request explains it?"""
import dataclasses
import functools
import itertools

import numpy as np

from tools.conformance import readings
from tools.conformance.readings import Reading
from tools.conformance.sides import Reply

DTYPES = ("float16", "bfloat16")  # the finer one first
NOISE = 2  # times the difference that our own rounding to a dtype makes


@dataclasses.dataclass(frozen=True)
class Difference:
  """The first token of a reply that is not the probe's."""
  at: int
  text: str  # what is there and what here
  other: bool = False  # whether another token is there: not the same one, and no end


def difference(probe, reply, tokenizer):
  """The Difference of a Reply, or None. A server may leave the eos out."""
  expected, spell = list(zip(probe.tokens, probe.logprobs)), tokenizer.piece
  if len(reply.tokens) == len(expected) - 1 and probe.tokens[-1] == tokenizer.eos_token:
    expected = expected[:-1]
  for i, (token, logprob) in enumerate(expected):
    if i == len(reply.tokens):
      return Difference(i, f"the answer ends there, {spell(token)!r} here")
    there, theirs = reply.logprobs[i], reply.texts[i]
    if reply.tokens[i] != token:
      return Difference(i, f"{theirs!r} {there:.4f} there, {spell(token)!r} {logprob:.4f} here",
                        other=True)
    if not abs(there - logprob) <= probe.tolerance:  # NaN too
      return Difference(i, f"{theirs!r} {there:.4f} there, {logprob:.4f} here")
  if len(reply.tokens) > len(expected):
    return Difference(len(expected), f"{reply.texts[len(expected)]!r} there, the answer has ended "
                                     "here")
  return None


def largest(probe, reply):
  """The largest difference of log-probabilities, of the tokens that both have."""
  return max((abs(a - b) for a, b in zip(probe.logprobs, reply.logprobs)), default=0.)


def rounded(scorer, probes, dtype):
  """The probes with the tolerance that another side needs which computes in a coarser dtype: NOISE
  times what the rounding moves our own log-probabilities."""
  moved = NOISE * max(map(functools.partial(_moved, scorer, dtype), probes))
  return [dataclasses.replace(p, tolerance=max(p.tolerance, moved)) for p in probes]


def _moved(scorer, dtype, probe):
  found, _ = scorer.logprobs(Reading(dtype=dtype), probe, probe.tokens)
  return float(np.abs(found - probe.logprobs).max())


class Explainer:
  """Finds the Reading that gives the other side's numbers.

  How far numbers are away is said in tolerances of the probe: 1 or less is equal.
  """

  def __init__(self, scorer, config, probes, replies):
    self._scorer, self._pairs = scorer, list(zip(probes, replies))
    self._config = config
    images = config.img.tokens if config.img else 0
    self._longest = images + max(len(p.prompt_ids) + len(p.tokens) for p in probes)

  def away(self, reading, pair):
    """Of a reply; inf where a token is unknown to our tokenizer."""
    probe, reply = pair
    if not reply.tokens or None in reply.tokens:
      return np.inf
    if reply.prompt_ids is not None and reading.ids is None:
      reading = dataclasses.replace(reading, ids=lambda *_: reply.prompt_ids)
    found, best = self._scorer.logprobs(reading, probe, reply.tokens)
    off = np.maximum(np.abs(found - reply.logprobs), best - found).max()
    if not np.isfinite(off) or off <= probe.tolerance:
      return float(off / probe.tolerance) if np.isfinite(off) else np.inf
    # A prompt that the model was not trained on makes it less sure of what it sees.
    moved = self._scorer.moved_by_rounding(reading, probe, reply.tokens, found)
    return float(off / max(probe.tolerance, NOISE * moved))

  def worst(self, reading, stop=np.inf):
    """Of all replies; above `stop` only that it is more."""
    most = 0.
    for pair in self._pairs:
      most = max(most, self.away(reading, pair))
      if most > stop:
        break
    return most

  def tied(self, i):
    """Whether our model finds the tokens of reply i as likely as they are there and none likelier:
    two were as likely."""
    probe, reply = self._pairs[i]
    return self.away(Reading(), (probe, dataclasses.replace(reply, prompt_ids=None))) <= 1

  def stale(self):
    """Whether our own model, opened from the folder, does not give the probes either."""
    return any(self.away(Reading(), (p, Reply(p.tokens, p.logprobs, []))) > 1
               for p, _ in self._pairs)

  def single(self):
    """[(how far, Reading)], the nearest first."""
    tried = readings.alternatives(self._config, self._longest)
    if any(r.prompt_ids not in (None, p.prompt_ids) for p, r in self._pairs):
      tried.append(Reading("tokenizer", "the prompt has the ids shown above"))
    found = []
    for reading in tried:
      found.append((self.worst(reading), reading))
    return sorted(found, key=lambda item: item[0])

  def pair(self, single):
    """The Reading of two changes of different kinds that explains all, or None."""
    for a, b in itertools.combinations([r for _, r in single], 2):
      if a.kind != b.kind:
        both = readings.both(a, b)
        if self.worst(both, stop=1) <= 1:
          return both
    return None

  def rounding(self):
    """The dtype, float16 before bfloat16, whose rounding moves our log-probabilities as far as the
    replies are from them, or None."""
    theirs = max(self.away(Reading(), pair) * pair[0].tolerance for pair in self._pairs)
    for dtype in DTYPES:
      ours = max(_moved(self._scorer, dtype, p) for p, _ in self._pairs)
      if theirs <= NOISE * ours:
        return dtype
    return None
