"""Answers that keep to a regular expression or a JSON schema: which tokens may come next.

A grammar becomes an automaton over bytes (automaton.py). A token is allowed where its bytes lead to
a state from which the rest of the limit is enough to end: every answer ends, and so parses. The
host keeps each answer's state and gives the device a bit for each token of the next step: a table
of all states by all tokens of Gemma's vocabulary would have gigabytes. The libraries for this
(llguidance, xgrammar, outlines-core) do not know the limit, which cuts what a model never closes.

S states, V vocabulary, W = V / 32 words of a mask, R requests.
"""
import collections
import functools
import json
import threading

import numpy as np

from big_vlm.decode import automaton, json_schema
from big_vlm.decode.grammar import Masks
from pp.names import check_names
from pp.printable import printable
from pp.token_bytes import token_bytes

KEYS = ("json_schema", "regex", "choices")
MAX_BYTES = 64  # of a token; longer ones are not used
MAX_CHOICES = 256
MOST = 20_000  # tokens of a state that are tried for the way to its end
CACHED = 24  # states of an automaton whose tokens are kept, 0.5 MiB each with Gemma's vocabulary
FAR = 1 << 30  # tokens to the end, of a state that the vocabulary cannot lead to one


def normalized(grammar):
  """generate()'s grammar as {"json_schema": dict}, {"regex": str} or {"choices": tuple}: "json" is
  the schema of any object, a list is one of choices. None for other strings and None.

  Raises ValueError for anything else.
  """
  if grammar == "json":
    return {"json_schema": {"type": "object"}}
  if isinstance(grammar, (list, tuple)):
    grammar = {"choices": grammar}
  if grammar is None or isinstance(grammar, str):
    return None
  if not isinstance(grammar, dict) or len(grammar) != 1:
    raise ValueError(f"The grammar {grammar!r:.80} is not understood: it is a name, a list of "
                     f"choices, or a dict with one of {', '.join(KEYS)}.")
  check_names(grammar, KEYS, "A grammar")
  if "regex" in grammar and not isinstance(grammar["regex"], str):
    raise ValueError(f"The regex of a grammar is a string, not {grammar['regex']!r:.60}.")
  if "choices" in grammar:
    return {"choices": _checked_choices(grammar["choices"])}
  return grammar


def _checked_choices(choices):
  choices = tuple(choices) if isinstance(choices, (list, tuple)) else ()
  if not 1 <= len(choices) <= MAX_CHOICES or not all(isinstance(c, str) and c for c in choices):
    raise ValueError(f"choices are a list of 1 to {MAX_CHOICES} texts, none of them empty.")
  if len(set(choices)) < len(choices):
    twice = next(c for c in choices if choices.count(c) > 1)
    raise ValueError(f"The choice {twice[:60]!r} comes twice.")
  return choices


def compile(grammar, tokenizer, eos, vocab_size):
  """The TokenAutomaton of a normalized json_schema or regex; the same one for the same grammar.

  eos: the id that ends an answer. vocab_size: of the model, at least the tokenizer's. Raises
  ValueError for what grammars do not know, and where the tokenizer cannot write any answer.
  """
  try:
    key = json.dumps(grammar)
    json.dumps(grammar, ensure_ascii=False).encode()  # half of a surrogate pair is no text
  except (TypeError, ValueError, RecursionError) as e:
    raise ValueError(f"The grammar is not JSON: {printable(e, 200)}.") from None
  with _lock:  # several threads of a server
    return _compiled(key, tokenizer, eos, vocab_size)


_lock = threading.Lock()


@functools.lru_cache(maxsize=16)
def _compiled(key, tokenizer, eos, vocab_size):
  grammar = json.loads(key)
  try:
    over_bytes = automaton.build(
        automaton.regex(grammar["regex"]) if "regex" in grammar else
        json_schema.language(grammar["json_schema"]))
  except RecursionError:
    raise ValueError("The grammar nests too deep.") from None
  return TokenAutomaton(over_bytes, tokenizer, eos, vocab_size)


class Vocabulary:
  """The bytes of all tokens, in an order that a first byte finds its own."""

  def __init__(self, tokenizer):
    pairs = sorted((data, i) for i, data in enumerate(token_bytes(tokenizer))
                   if 0 < len(data) <= MAX_BYTES)
    self.ids = np.array([i for _, i in pairs], np.int32)
    self.lengths = np.array([len(data) for data, _ in pairs])
    width = max(self.lengths, default=1)
    flat = b"".join(data.ljust(width, b"\0") for data, _ in pairs)
    self.bytes = np.frombuffer(flat, np.uint8).reshape(len(pairs), width)
    self._first = np.searchsorted(self.bytes[:, 0], np.arange(257))

  def of_bytes(self, first):
    """int [n]: the rows of the tokens that begin with some bytes."""
    parts = [np.arange(self._first[b], self._first[b + 1]) for b in first]
    return np.concatenate(parts) if parts else np.zeros(0, int)


@functools.lru_cache(maxsize=4)
def vocabulary(tokenizer):
  return Vocabulary(tokenizer)


class TokenAutomaton:
  """An automaton whose steps are tokens. least: tokens that the shortest answer needs, the eos
  included, as far as _nearest() looks."""

  def __init__(self, over_bytes, tokenizer, eos, vocab_size):
    self._table, self._accepts = over_bytes.table, over_bytes.accepts
    self._vocabulary, self._bytes = vocabulary(tokenizer), token_bytes(tokenizer)
    self._eos, self._size = eos, vocab_size
    self._to_end = self._distances()  # int [S]: tokens to a state that accepts
    self.least = int(self._to_end[0]) + 1
    if self.least > FAR:
      raise ValueError(f"The tokenizer {tokenizer.path} has no tokens that write an answer of this "
                       "grammar.")
    self._known = collections.OrderedDict()  # of _ahead()

  def _after(self, state, rows):
    """(rows, states): those of some tokens that fit in a state, and where each leads."""
    v = self._vocabulary
    at = self._table[state][v.bytes[rows, 0]]
    done_rows, done_at = [], []
    for place in range(1, v.bytes.shape[1] + 1):
      whole = v.lengths[rows] == place
      done_rows.append(rows[whole])
      done_at.append(at[whole])
      rows, at = rows[~whole], at[~whole]
      if not len(rows):
        break
      at = self._table[at, v.bytes[rows, place]]
      rows, at = rows[at >= 0], at[at >= 0]
    return np.concatenate(done_rows), np.concatenate(done_at)

  def _distances(self):
    """The distances of all states to the end, over bytes and then over the tokens of _nearest()."""
    steps = np.where(self._accepts, 0, FAR)
    _relax(steps, np.repeat(np.arange(len(steps)), 256), self._table.reshape(-1))
    after = [np.unique(self._after(s, self._nearest(s, steps))[1]) for s in range(len(steps))]
    source = np.repeat(np.arange(len(after)), [len(a) for a in after])
    to_end = np.where(self._accepts, 0, FAR)
    _relax(to_end, source, np.concatenate(after))
    return to_end

  def _nearest(self, state, steps):
    """Rows of tokens whose first byte leads nearer to the end: the single bytes, and up to MOST of
    the others. steps: int [S], bytes to the end."""
    after = self._table[state]
    nearer = np.flatnonzero((after >= 0) & (steps[after] < max(steps[state], 1)))
    rows = self._vocabulary.of_bytes(nearer)
    if len(rows) <= MOST:
      return rows
    v = self._vocabulary
    return np.union1d(rows[v.lengths[rows] == 1], rows[np.argsort(v.ids[rows])[:MOST]])

  def _ahead(self, state):
    """(int16 [V]: tokens that each token of the vocabulary leaves to the end, -1: it does not fit;
    the largest of them; the mask of all that fit), of which the latest are kept."""
    if state in self._known:
      self._known.move_to_end(state)
      return self._known[state]
    v = self._vocabulary
    rows, after = self._after(state, v.of_bytes(np.flatnonzero(self._table[state] >= 0)))
    left = np.full(-(-self._size // 32) * 32, -1, np.int16)
    left[v.ids[rows]] = np.where(self._to_end[after] < FAR, self._to_end[after], -1)
    self._known[state] = left, left.max(), self._packed(state, left >= 0)
    if len(self._known) > CACHED:
      self._known.popitem(last=False)
    return self._known[state]

  def mask(self, state, left):
    """uint32 [W]: a bit for each token after which `left` - 1 more, the eos among them, are enough.
    """
    ahead, farthest, everything = self._ahead(state)
    if farthest <= left - 2:
      return everything
    return self._packed(state, (ahead >= 0) & (ahead <= left - 2))

  def _packed(self, state, allowed):
    bits = allowed.copy()
    bits[self._eos] = self._accepts[state]
    return np.packbits(bits, bitorder="little").view("<u4")

  def step(self, state, token):
    """The state after a token that mask() allows; that of the end after the eos."""
    for byte in self._bytes[token] if token != self._eos else b"":
      state = self._table[state, byte]
    return int(state)


def _relax(distance, source, target):
  """Fills in the distances (int [S], FAR: unknown) over edges from states `source` to `target`."""
  there = target >= 0
  source, target, steps = source[there], target[there], 0
  while True:
    steps += 1
    nearer = source[(distance[target] == steps - 1) & (distance[source] > steps)]
    if not len(nearer):
      return
    distance[nearer] = steps


class Matcher:
  """One answer: what may come next."""

  def __init__(self, automaton, limit):
    self._automaton, self._left, self._state = automaton, int(limit), 0

  def take(self, tokens):
    """Tokens that were written since the last call."""
    for token in tokens:
      self._state = self._automaton.step(self._state, int(token))
      self._left -= 1

  def mask(self):
    """uint32 [W]."""
    return self._automaton.mask(self._state, self._left)


class BatchMatcher:
  """The Masks of R answers, of which any may have a grammar."""

  def __init__(self, count, vocab_size):
    self._rows, self._taken = [None] * count, np.zeros(count, int)
    self._free = np.full(-(-vocab_size // 32), 0xffffffff, np.uint32)

  def __bool__(self):
    return any(self._rows)

  def put(self, row, automaton, limit):
    """Begins an answer of at most `limit` tokens; automaton: of its grammar, None: it is free."""
    self._rows[row] = Matcher(automaton, limit) if automaton and limit > 0 else None
    self._taken[row] = 0

  def masks(self, state=None):
    """The Masks for the tokens after those of a search.State, numpy; None: for the first."""
    bits = np.tile(self._free, (len(self._rows), 1))
    for i, row in enumerate(self._rows):
      if row and state is not None and state.finished[i]:  # others need no masks for its sake
        self._rows[i] = row = None
      if row and state is not None:
        row.take(state.tokens[i, self._taken[i]:state.length[i]])
        self._taken[i] = state.length[i]
      if row:
        bits[i] = row.mask()
    return Masks(bits)
