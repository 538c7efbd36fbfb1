"""Searches pick the next token of every request from its logits: Sample, Contrastive; beams.py has
more.

R requests, N most new tokens, V vocabulary, S cache positions, D width. A search has
  init(request, state, logits, hidden, cache) -> (state, carry)    after the prefill
  step(request, state, carry, extend) -> (state, carry)            one token more
The carry holds what a step needs besides the answers; extend(tokens, cache) -> (logits, hidden,
cache) calls the model. A request's answer depends on that request alone.
"""

import flax.struct
import jax
import jax.numpy as jnp

from big_vlm.decode import token_selection
from big_vlm.decode.grammar import Grammar, Masks, repeated_ngrams
from big_vlm.decode.logit_rules import LogitRules

BLOCK = 128  # tokens that draw() draws together at first


@flax.struct.dataclass
class Request:
  """The requests of a batch; limit 0: a padding row."""
  seed: jax.Array  # uint32 [R]
  limit: jax.Array  # int32 [R]: most new tokens
  stops: jax.Array  # int32 [M]: ids that end an answer; -1 is none
  grammar: Grammar | Masks | None = None  # of R rows
  no_repeat_ngram: int = flax.struct.field(pytree_node=False, default=0)  # 0: off
  logit_rules: LogitRules | None = None
  prompt: jax.Array | None = None  # int32 [R, T], -1 where it has ended; for PromptLookup alone


@flax.struct.dataclass
class State:
  """The answers so far."""
  step: jax.Array  # int32 []: tokens written since the loop began
  tokens: jax.Array  # int32 [R, N]: 0 from `length` on
  logprobs: jax.Array  # float32 [R, N]: of each token under the model, not the sampler
  length: jax.Array  # int32 [R]: with the stop
  finished: jax.Array  # bool [R]

  @classmethod
  def init(cls, request, new):
    rows = len(request.limit)
    return cls(jnp.int32(0), jnp.zeros((rows, new), jnp.int32), jnp.zeros((rows, new)),
               jnp.zeros(rows, jnp.int32), request.limit <= 0)

  def write(self, request, token, logits):
    """The state with one token [R] more, which was chosen from these logits [R, V]."""
    logprob = token_selection.logprob(logits, token)
    length = self.length + ~self.finished
    stopped = jnp.any(token[:, None] == request.stops[None], axis=1)
    place = jnp.arange(self.tokens.shape[1])[None] == self.length[:, None]
    place &= ~self.finished[:, None]
    return self.replace(
        step=self.step + 1, length=length,
        finished=self.finished | stopped | (length >= request.limit),
        tokens=jnp.where(place, token[:, None], self.tokens),
        logprobs=jnp.where(place, logprob[:, None], self.logprobs))

  def newest(self):
    """int32 [R]: the last token of each answer."""
    last = jnp.maximum(self.length - 1, 0)
    return jnp.take_along_axis(self.tokens, last[:, None], axis=1)[:, 0]


def constrain(request, logits, fsm_state, tokens, length):
  """logits [R, V] as the request's rules change them, with -inf where they, the grammar, which is
  in fsm_state [R], or the no-repeat n-gram rule forbid the token; the grammar wins where the others
  leave nothing. tokens [R, N]: of an answer, the first `length` ([] or [R]) are written.
  """
  length = jnp.broadcast_to(length, len(logits))
  changed = logits
  if request.logit_rules is not None:
    changed = request.logit_rules.change(logits, tokens, length)
  if request.grammar is not None:
    allowed = request.grammar.allowed(fsm_state, logits.shape[1])
    changed, logits = (jnp.where(allowed, x, -jnp.inf) for x in (changed, logits))
  if request.logit_rules is not None:
    some = jnp.any((changed > -jnp.inf) | jnp.isnan(changed), axis=1, keepdims=True)
    logits = request.logit_rules.without_stops(jnp.where(some, changed, logits), request.stops,
                                               length)
  if request.no_repeat_ngram:
    banned = repeated_ngrams(tokens, length, request.no_repeat_ngram)
    banned = jnp.where(banned < 0, logits.shape[1], banned)  # out of range: dropped
    rows = jnp.arange(len(logits))[:, None]
    fresh = logits.at[rows, banned].set(-jnp.inf, mode="drop")
    # Where no other token is allowed, one may be repeated.
    logits = jnp.where(jnp.any(fresh > -jnp.inf, axis=1, keepdims=True), fresh, logits)
  return logits


def init_fsm(request, rows):
  """int32 [rows]: the grammar's state before the first token; None without a grammar."""
  return None if request.grammar is None else jnp.zeros(rows, jnp.int32)


def next_fsm(request, fsm_state, token):
  """int32 [R]: the grammar's state after one token [R] more; None without a grammar."""
  return None if request.grammar is None else request.grammar.step(fsm_state, token)


class TokenByToken:
  """The search that writes one token after another, as choose() of a subclass picks them.

  Rows may have answers of different lengths: a row's next token depends on that row alone.
  """

  def choose(self, request, state, left):
    """int32 [R]: the next token of each row, from logits [R, V] that are -inf where forbidden."""
    raise NotImplementedError

  def init(self, request, state, logits, hidden, cache):
    del hidden
    return self._write(request, state, logits, cache, init_fsm(request, len(logits)))

  def step(self, request, state, carry, extend):
    cache, fsm_state = carry
    logits, _, cache = extend(state.newest(), cache)
    return self._write(request, state, logits, cache, fsm_state)

  def _write(self, request, state, logits, cache, fsm_state):
    left = constrain(request, logits, fsm_state, state.tokens, state.length)
    token = self.choose(request, state, left)
    if request.logit_rules is not None:  # what a function made NaN is an error in the end
      odd = jnp.any(jnp.isnan(left), axis=1, keepdims=True)
      logits = jnp.where(odd, jnp.nan, logits)
    return state.write(request, token, logits), (cache, next_fsm(request, fsm_state, token))


@flax.struct.dataclass
class Sample(TokenByToken):
  """The likeliest token, or one drawn from what the filters leave."""
  filters: tuple
  draw: bool = flax.struct.field(pytree_node=False)
  n: int = flax.struct.field(pytree_node=False, default=1)  # draws per request: the best counts

  def choose(self, request, state, left):
    for keep in self.filters:
      left = keep(left)
    if self.draw:
      return draw(request.seed, state.length, left)
    return token_selection.argmax(left)

  def __or__(self, other):
    return join(self, other)

  def __ror__(self, other):
    return join(other, self)


def draw(seed, place, logits):
  """int32 [R]: a token of each row, drawn from softmax(logits [R, V]) with a key that is a function
  of the request's seed, uint32 [R], and the token's place in its answer, int32 [R].

  A block of BLOCK tokens is drawn by their probability together, then one of them by its own: of
  257,152 tokens eight rows take 2 ms instead of 42, which as many random numbers take.
  """
  keys = jax.vmap(lambda s, n: jax.random.split(jax.random.fold_in(jax.random.key(s), n)))(
      seed, place)
  blocks = jnp.pad(logits, ((0, 0), (0, -logits.shape[1] % BLOCK)), constant_values=-jnp.inf)
  blocks = blocks.reshape(len(logits), -1, BLOCK)
  block = _categorical(keys[:, 0], jax.nn.logsumexp(blocks, axis=-1))
  token = _categorical(keys[:, 1], jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0])
  return block * BLOCK + token


def _categorical(keys, logits):
  return jax.vmap(jax.random.categorical)(keys, logits).astype(jnp.int32)


def join(first, second):
  """The Sample with the filters of both; ValueError where either is another search."""
  if not all(isinstance(s, Sample) and s.draw and s.n == 1 for s in (first, second)):
    raise ValueError(f"The samplers {first} and {second} cannot be joined: only temperature, "
                     "top_k, top_p and min_p can. best_of takes such a chain: "
                     "best_of(4, 'top_k(9)|top_p(.9)').")
  return Sample(first.filters + second.filters, draw=True)


@flax.struct.dataclass
class Contrastive:
  """Contrastive search (arXiv 2202.06417): likely, but unlike what stands before.

  Each of the k candidates is read by the model: k rows per request and step.
  """
  k: int = flax.struct.field(pytree_node=False)
  alpha: float

  def init(self, request, state, logits, hidden, cache):
    positions = cache.tokens.valid.shape[1]
    history = jnp.pad(_unit(hidden), ((0, 0), (0, positions - hidden.shape[1]), (0, 0)))
    return state, (cache, history, logits, init_fsm(request, len(logits)))

  def step(self, request, state, carry, extend):
    cache, history, logits, fsm_state = carry
    rows = len(logits)
    allowed = constrain(request, logits, fsm_state, state.tokens, state.step)
    top, token = jax.lax.top_k(jax.nn.log_softmax(allowed), self.k)  # [R, k]
    next_logits, hidden, wide = extend(token.reshape(-1).astype(jnp.int32), cache.repeat(self.k))
    hidden = _unit(hidden).reshape(rows, self.k, -1)
    cosine = jnp.einsum("RkD,RSD->RkS", hidden, history)
    likeness = jnp.max(jnp.where(cache.tokens.valid[:, None], cosine, -1), axis=-1)
    score = (1 - self.alpha) * jnp.exp(top) - self.alpha * likeness
    best = jnp.argmax(jnp.where(jnp.isneginf(top), -jnp.inf, score), axis=1)
    row, chosen = jnp.arange(rows) * self.k + best, at_index(token, best).astype(jnp.int32)
    history = jax.lax.dynamic_update_slice(
        history, jnp.take_along_axis(hidden, best[:, None, None], axis=1), (0, cache.length, 0))
    state = state.write(request, chosen, logits)
    return state, (wide.take(row), history, next_logits[row], next_fsm(request, fsm_state, chosen))


def _unit(x):
  x = x.astype(jnp.float32)
  return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-6)


def at_index(x, index):
  """x[r, index[r]] of each row r."""
  return jnp.take_along_axis(x, index[:, None], axis=1)[:, 0]
