"""Constraints on answers: grammars of `detect` and `segment`, and the no-repeat n-gram rule.

The answers to "detect cat ; dog" and to "segment cat ; dog" are one or more objects,

  <loc....>x4 cat ; <loc....>x4 dog ; ...        <loc....>x4<seg...>x16 cat ; ...

each label one of the prompt's, then eos; or eos alone, where there is nothing. compile() turns
that into a finite-state machine over token ids, on the host; the decoding loop masks logits with
allowed() and advances with step(). A grammar allows every well-formed answer, and only such a one
can end.

B batch, S states, M edges of a state, V vocabulary, N the most new tokens.
"""
import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import inputs
from pp import locations
from pp.names import pick
from pp.tokenizer import check_single_ids, loc_pieces, seg_pieces

CODES = {"detect": 0, "segment": 16}  # <seg> tokens of an object, by the prompt's first word
KINDS = dict.fromkeys([*CODES, "auto"])  # by the prompt; others: structured.py
LOC4, SEG16 = "<loc0000>" * 4, "<seg000>" * 16
MIN_STATES, MIN_EDGES = 32, 8  # most prompts fit, so that most share one compilation
FREE = [{(0, np.iinfo(np.int32).max): 0}]


@flax.struct.dataclass
class Grammar:
  """One finite-state machine per row; each starts in state 0."""
  edges: jax.Array  # int32 [B, S, M, 3]: lowest id, highest id (below it: unused), next state

  def allowed(self, state, vocab_size):
    """state int32 [B] -> bool [B, V]: the tokens that may come next; at least one in each row."""
    ids = jnp.arange(vocab_size)[None, None]

    def widen(allowed, edges):
      low, high = edges
      return allowed | jnp.any((low[..., None] <= ids) & (ids <= high[..., None]), axis=1), None

    # A few edges at a time: of 128, XLA on a CPU writes out [B, M, V], and takes ten times longer.
    few = lambda x: x.reshape(len(state), -1, MIN_EDGES).swapaxes(0, 1)
    low, high, _ = self._of(state)
    none = jnp.zeros((len(state), vocab_size), bool)
    return jax.lax.scan(widen, none, (few(low), few(high)))[0]

  def step(self, state, token):
    """state, token int32 [B] -> the next state. A token that is not allowed, such as the padding
    of a finished row, changes nothing."""
    low, high, after = self._of(state)
    taken = (low <= token[:, None]) & (token[:, None] <= high)  # by one edge at most
    return jnp.where(jnp.any(taken, axis=1), jnp.sum(jnp.where(taken, after, 0), axis=1), state)

  def _of(self, state):
    edges = jnp.take_along_axis(self.edges, state[:, None, None, None], axis=1)[:, 0]
    return edges[..., 0], edges[..., 1], edges[..., 2]


@flax.struct.dataclass
class Masks:
  """The tokens that may come next, for one step: the host keeps the state (structured.py)."""
  bits: jax.Array  # uint32 [B, W]: of token i bit i % 32 of word i // 32

  def allowed(self, state, vocab_size):
    """As Grammar.allowed; state is not read."""
    bits = self.bits[..., None] >> jnp.arange(32, dtype=jnp.uint32)[None, None]
    return (bits & 1).astype(bool).reshape(len(self.bits), -1)[:, :vocab_size]

  def step(self, state, token):
    return state


def compile(kind, prompts, tokenizer, eos):
  """The Grammar of some prompts, its S and M powers of two.

  kind: "detect" or "segment": each prompt begins with that word, in any case. "auto": by the first
    word of each; a prompt that begins otherwise or names no label that an answer can hold is free.
  prompts: [str]; labels are what stands between ";", spelled as there.
  eos: the id that ends an answer; None or -1: no end, so after each object comes another.
  Raises ValueError for an unknown kind, a prompt that does not fit it, a label that holds a
  location, and a tokenizer in which locations or masks are not tokens of their own.
  """
  pick(KINDS, kind, "grammar")
  rows = [_row(kind, prompt, tokenizer, -1 if eos is None else eos) for prompt in prompts]
  states = inputs.bucket(max([MIN_STATES, *map(len, rows)]))
  width = inputs.bucket(max([MIN_EDGES, *(len(edges) for row in rows for edges in row)]))
  table = np.tile(np.int32([1, 0, 0]), (len(rows), states, width, 1))
  for b, row in enumerate(rows):
    for s, edges in enumerate(row):
      for m, ((low, high), after) in enumerate(edges.items()):
        table[b, s, m] = low, high, after
  return Grammar(table)


def repeated_ngrams(tokens, length, n):
  """The tokens that would complete an n-gram which the answer already has.

  As no_repeat_ngram_size of transformers, over the answer alone. Together with a grammar it can
  leave no token at all: the grammar must then win.

  tokens: int32 [B, N], of which the first `length` (int32 [] or [B]) are written. n: static, >= 1.
  Returns int32 [B, N]: at position i the token to forbid, or -1.
  """
  if n < 1:
    raise ValueError(f"no_repeat_ngram takes n-grams of at least 1 token, not {n}.")
  rows, most = tokens.shape
  if n > most:
    return jnp.full_like(tokens, -1)
  length = jnp.broadcast_to(length, rows)[:, None]
  position = jnp.arange(most)[None]  # of the last token of an earlier n-gram
  again = (position < length) & (position >= n - 1)
  for back in range(1, n):
    earlier = jnp.roll(tokens, back, axis=1)
    newest = jnp.take_along_axis(tokens, jnp.maximum(length - back, 0), axis=1)
    again &= earlier == newest
  return jnp.where(again, tokens, -1)


def _row(kind, prompt, tokenizer, eos):
  """The states of one prompt's machine: a list of {(lowest id, highest id): next state}."""
  word, *rest = prompt.split(maxsplit=1) or [""]
  labels = list(dict.fromkeys(filter(None, map(str.strip, "".join(rest).split(";")))))
  word, bad = word.lower(), [label for label in labels if not _readable(label)]
  if kind == "auto" and (word not in CODES or bad or not labels):
    return FREE
  if kind == "auto":
    kind = word
  if word != kind or not labels:
    raise ValueError(f"The grammar {kind!r} takes prompts like '{kind} cat ; dog', which name what "
                     f"an answer may hold, not {prompt[:80]!r}. grammar='auto' leaves it free.")
  if bad:
    raise ValueError(f"The label {bad[0][:80]!r} of the prompt {prompt[:80]!r} holds a location, "
                     "which would begin another object in an answer: leave it out.")
  return _answers(labels, tokenizer, eos, CODES[kind])


def _readable(label):
  return all([o.label for o in locations.parse_objects(f"{LOC4}{seg} {label}")] == [label]
             for seg in ("", SEG16))


def _answers(labels, tokenizer, eos, codes):
  states = [{}]

  def step(state, ranges, after=None):
    """Edges to `after`, by default to where the same ones lead already or to a new state."""
    if after is None:
      after = states[state].get(ranges[0])
    if after is None:
      after = len(states)
      states.append({})
    states[state].update(dict.fromkeys(ranges, after))
    return after

  def walk(state, ids):
    return functools.reduce(lambda state, i: step(state, [(i, i)]), ids, state)

  loc, seg = _ranges(tokenizer, loc_pieces()), codes and _ranges(tokenizer, seg_pieces())
  begun = step(0, loc)
  located = functools.reduce(step, [loc] * 3 + [seg] * codes, begun)
  if eos >= 0:
    end = step(0, [(eos, eos)])
    step(end, [(eos, eos)], end)
  for label in labels:
    between, last = _written(tokenizer, label, loc)
    step(walk(located, between), loc, begun)
    if eos >= 0:
      step(walk(located, last), [(eos, eos)], end)
  return states


def _written(tokenizer, label, loc):
  """A label as ids: (with what leads to the next object, where it is the last of an answer).

  Taken from a whole answer: a tokenizer may join a label and the spaces beside it, or split it
  otherwise than where it stands alone.
  """
  ids = tokenizer.to_int(f"{LOC4} {label} ; {LOC4} {label}")
  at = [n for n, i in enumerate(ids) if any(low <= i <= high for low, high in loc)]
  return ids[at[3] + 1:at[4]], ids[at[7] + 1:]


def _ranges(tokenizer, pieces):
  """[(lowest, highest)] of the ids of some pieces: one range unless the vocabulary mixes them."""
  check_single_ids(tokenizer, (pieces[0], pieces[-1]))
  ids = np.unique(tokenizer.to_int("".join(pieces)))
  runs = np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1)
  return [(int(run[0]), int(run[-1])) for run in runs]
