"""Beam searches: Beam is big_vision's, HFBeam is that of transformers.

P prompts, R answers asked for (P times as many as each prompt gets), n beams of a prompt, N most
new tokens, V vocabulary, C candidates.
"""
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from big_vlm.decode.search import at_index, constrain, init_fsm, next_fsm
from big_vlm.nn.kv_cache import KVCache


@flax.struct.dataclass
class Beams:
  """n live beams of each prompt, and what was closed by a stop."""
  tokens: jax.Array  # [P, n, N]
  logprobs: jax.Array  # [P, n, N]
  score: jax.Array  # [P, n]: sum of log-probabilities; -inf: not live
  fsm_state: Any  # int32 [P * n] of the grammar, or None
  closed: dict  # {"tokens", "logprobs", "length", "score"} as a search keeps them
  cache: KVCache  # of P * n rows

  @classmethod
  def init(cls, request, n, new, closed, cache):
    """The live beams before the first token, n of each row of the cache."""
    rows = cache.tokens.valid.shape[0]
    # All beams are equal before the first token: only the first of them stays live.
    score = jnp.tile(jnp.where(jnp.arange(n) == 0, 0., -jnp.inf), (rows, 1))
    return cls(jnp.zeros((rows, n, new), jnp.int32), jnp.zeros((rows, n, new)), score,
               init_fsm(request, rows * n), closed, cache.repeat(n))

  def extend(self, step, extend):
    """(logits [P * n, V], the beams with the cache that their newest token was read into)."""
    logits, _, cache = extend(self.tokens[:, :, step - 1].reshape(-1), self.cache)
    return logits, self.replace(cache=cache)

  def next_logprobs(self, request, step, logits):
    """float32 [P, n, V]: -inf where the rules of the request [P * n] forbid the token."""
    rows, n, new = self.tokens.shape
    return constrain(request, jax.nn.log_softmax(logits), self.fsm_state,
                     self.tokens.reshape(-1, new), step).reshape(rows, n, -1)

  def append(self, step, parent, logprob, token):
    """{"tokens", "logprobs", "score"} of beams parent [P, m] with a token [P, m] more."""
    of = lambda x: jnp.take_along_axis(x, parent[..., None], axis=1)
    return {"tokens": of(self.tokens).at[:, :, step].set(token),
            "logprobs": of(self.logprobs).at[:, :, step].set(logprob),
            "score": jnp.take_along_axis(self.score, parent, axis=1) + logprob}

  def advance(self, request, parent, live, token, closed):
    """The Beams of `live`, as append() made them of parent [P, n] and token [P, n]."""
    rows, n = parent.shape
    row = (jnp.arange(rows)[:, None] * n + parent).reshape(-1)
    fsm_state = (None if self.fsm_state is None else
                 next_fsm(request, self.fsm_state[row], token.reshape(-1)))
    return Beams(**live, fsm_state=fsm_state, closed=closed, cache=self.cache.take(row))


@flax.struct.dataclass
class BeamSearch:
  """What both share: how a search begins and goes on. They give _kept and _grow."""
  n: int = flax.struct.field(pytree_node=False)

  def init(self, request, state, logits, hidden, cache):
    del hidden
    shape, new = self._kept(len(logits)), state.tokens.shape[1]
    closed = {"tokens": jnp.zeros((*shape, new), jnp.int32), "logprobs": jnp.zeros((*shape, new)),
              "length": jnp.zeros(shape, jnp.int32), "score": jnp.full(shape, -jnp.inf)}
    beams = Beams.init(request, self.n, new, closed, cache)
    return self._grow(request, state, beams, jnp.repeat(logits, self.n, axis=0))

  def step(self, request, state, carry, extend):
    logits, beams = carry.extend(state.step, extend)
    return self._grow(request, state, beams, logits)


@flax.struct.dataclass
class Beam(BeamSearch):
  """Beam search with big_vision's exact stop: every beam is also closed by a stop at each step; the
  best closed one is kept, and it is the answer once no beam, whose score can only fall, beats it.
  """

  def _kept(self, rows):
    """The shape of what is kept of closed beams: the best of each prompt."""
    return (rows,)

  def _grow(self, request, state, beams, logits):
    rows, n, _ = beams.tokens.shape
    each = _of_each_beam(request, rows, n)
    logprobs = beams.next_logprobs(each, state.step, logits)
    vocab = logprobs.shape[-1]

    # Close every beam with its likeliest stop; the best of the closed ones may be a new best.
    closing = jnp.where((request.stops < 0)[None, None], -jnp.inf, logprobs[..., request.stops])
    stop = jnp.argmax(closing, axis=-1)  # [R, n]
    closing = jnp.max(closing, axis=-1)
    first = jnp.argmax(beams.score + closing, axis=1)
    closed = beams.append(state.step, first[:, None], at_index(closing, first)[:, None],
                          request.stops[at_index(stop, first)][:, None])
    length = state.step + 1
    first_of = lambda found: {**{k: v[:, 0] for k, v in found.items()},
                              "length": jnp.full(rows, length, jnp.int32)}
    closed = first_of(closed)
    best = _where(closed["score"] > beams.closed["score"], closed, beams.closed)

    # The n best live continuations are among each beam's own n best.
    stops = jnp.where(request.stops < 0, vocab, request.stops)
    top, token = jax.lax.top_k(logprobs.at[..., stops].set(-jnp.inf, mode="drop"), n)
    _, picked = jax.lax.top_k((beams.score[..., None] + top).reshape(rows, -1), n)
    parent = picked // n  # [R, n]
    token = jnp.take_along_axis(token.reshape(rows, -1), picked, axis=1)
    live = beams.append(state.step, parent,
                        jnp.take_along_axis(top.reshape(rows, -1), picked, axis=1), token)
    beams = beams.advance(each, parent, live, token, best)

    # The answer so far: the best closed one, or the best beam where none could be closed.
    answer = _where(jnp.isneginf(best["score"]), first_of(live), best)
    ended = (best["score"] > live["score"][:, 0]) | (length >= request.limit)
    kept = {k: getattr(state, k) for k in ("tokens", "logprobs", "length")}
    return state.replace(step=length, finished=state.finished | ended,
                         **_where(~state.finished, answer, kept)), beams


@flax.struct.dataclass
class HFBeam(BeamSearch):
  """transformers' beam search: of the best continuations of all beams those among the first n that
  stop are closed, with the score sum of log-probabilities / length ** length_penalty, and the n
  best closed ones are kept. A prompt's R / P answers are the best of them, best first.

  It ends with n closed ones that no live beam can beat. What a beam may still reach is its sum at
  the length that it has, or with early_stopping="never" at the limit, where a penalty above 0 makes
  that better; early_stopping=True asks no such question. At the limit all beams count as closed.
  """
  length_penalty: float
  early_stopping: bool | str = flax.struct.field(pytree_node=False)

  def _kept(self, rows):
    """Likewise: the n best, best first."""
    return rows, self.n

  def _grow(self, request, state, beams, logits):
    rows, n, _ = beams.tokens.shape
    answers = len(request.limit) // rows  # of a prompt
    limit, was_finished = request.limit[::answers], state.finished[::answers]
    each = _of_each_beam(request, rows, n)
    logprobs = beams.next_logprobs(each, state.step, logits)

    # Enough candidates for n live ones, even if each beam could stop in each way.
    count = min((1 + len(request.stops)) * n, logprobs.shape[-1])
    top, token = jax.lax.top_k(logprobs, count)
    _, picked = jax.lax.top_k((beams.score[..., None] + top).reshape(rows, -1), count)
    flat = lambda x: jnp.take_along_axis(x.reshape(rows, -1), picked, axis=1)
    parent, top, token = picked // count, flat(top), flat(token)  # [P, C], best first
    found = beams.append(state.step, parent, top, token)
    length = state.step + 1
    stops = jnp.any(token[..., None] == request.stops[None, None], axis=-1)
    stops |= (length >= limit)[:, None]

    _, live = jax.lax.top_k(jnp.where(stops, -jnp.inf, found["score"]), n)
    beams = beams.advance(each, _take(parent, live), _take(found, live), _take(token, live),
                          self._close(beams.closed, found, stops, length))

    worst = beams.closed["score"][:, -1]
    length_then = limit if self.early_stopping == "never" else length
    length_then = jnp.where(self.length_penalty > 0, length_then, length)
    hope = found["score"][jnp.arange(rows), live[:, 0]] / length_then ** self.length_penalty
    full = worst > -jnp.inf
    ended = full if self.early_stopping is True else full & ~(hope > worst)
    ended = jnp.repeat(ended | (length >= limit), answers)
    best = {k: beams.closed[k][:, :answers].reshape(getattr(state, k).shape)
            for k in ("tokens", "logprobs", "length")}
    kept = {k: getattr(state, k) for k in best}
    return state.replace(step=length, finished=state.finished | ended,
                         **_where(~jnp.repeat(was_finished, answers), best, kept)), beams

  def _close(self, closed, found, stops, length):
    """The n best of those closed before and of the first n of `found`, where these stop."""
    found, stops = jax.tree.map(lambda x: x[:, :self.n], (found, stops))
    score = found["score"] / length ** self.length_penalty
    new = {**found, "length": jnp.full(stops.shape, length, jnp.int32),
           "score": jnp.where(stops, score, -jnp.inf)}
    both = {k: jnp.concatenate([closed[k], new[k]], axis=1) for k in closed}
    return _take(both, jax.lax.top_k(both["score"], self.n)[1])


def _of_each_beam(request, rows, n):
  """The Request [rows * n] of one of several answers of each of so many prompts."""
  answers = len(request.limit) // rows
  return request.replace(grammar=jax.tree.map(
      lambda x: jnp.repeat(x[::answers], n, axis=0), request.grammar))


def _take(tree, index):
  """Rows index [P, m] of leaves [P, C, ...] -> [P, m, ...]."""
  return jax.tree.map(lambda x: jnp.take_along_axis(
      x, index.reshape(index.shape + (1,) * (x.ndim - 2)), axis=1), tree)


def _where(condition, new, old):
  """Row by row; condition [R], leaves [R, ...] under the same keys."""
  return {k: jnp.where(condition.reshape((-1,) + (1,) * (v.ndim - 1)), new[k], v)
          for k, v in old.items()}
