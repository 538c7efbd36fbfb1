"""Decoding of requests that come and go: each has a slot, a row of one KV cache, and joins the
others between two tokens. Prefill and step are those of generate.py, so the answers are too.

R slots, P cache positions for images and prompt, N for the answer.

  position   0 .......... P-1 | P ................... P+N-1
             the row's prompt | a ring: all rows write the same position, then the next one

A row whose answer begins in the middle of the ring continues at its start. It has at most N tokens,
so it never overwrites itself. Attention does not depend on where a key lies: the cache holds the
place of each token in its text, and whether it is this row's.
"""
import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import cpu, distributed, inputs, sharding
from big_vlm.decode import generate, samplers, search, structured, token_selection
from big_vlm.decode.search import Request, State


@flax.struct.dataclass
class RowSample(search.TokenByToken):
  """search.Sample with a temperature and a top_p for each row."""
  temperature: jax.Array  # float32 [R]; 0: the likeliest token
  p: jax.Array  # float32 [R]; 1: all tokens

  def choose(self, request, state, left):
    def drawn(left, t, p, seed, place):
      warm = samplers.Temperature(t[:, None])(left)
      kept = _of_some(lambda x, p: samplers.TopP(p)(x), p < 1, warm, warm, p)
      return search.draw(seed, place, kept)
    return _of_some(drawn, (self.temperature > 0) & ~state.finished, token_selection.argmax(left),
                    left, self.temperature, self.p, request.seed, state.length)


def _of_some(f, rows, default, *args):
  """f(*args) where `rows` (bool [R]) are set, `default` elsewhere; each array has R rows.

  f sees a power of two of rows: of 16 requests over 257,152 tokens, one that draws costs 12 ms on
  two cores, and 16 cost 190.
  """
  order, count = jnp.argsort(~rows, stable=True), jnp.sum(rows)
  sizes = [1 << n for n in range(inputs.bucket(len(rows)).bit_length())]

  def of_first(size):
    at = order[:size]
    here = rows[at].reshape(-1, *(1,) * (default.ndim - 1))
    return default.at[at].set(jnp.where(here, f(*(x[at] for x in args)), default[at]))
  branches = [lambda: default, *(functools.partial(of_first, min(n, len(rows))) for n in sizes)]
  return jax.lax.switch(jnp.sum(count > jnp.array([0, *sizes[:-1]])), branches)


def row_numbers(sampler):
  """(temperature, top_p) of a search.Sample for RowSample; ValueError for another search."""
  t, p = samplers.Temperature, samplers.TopP
  if type(sampler) is search.Sample and sampler.n == 1:
    kinds = [type(keep) for keep in sampler.filters]
    if not sampler.draw:
      return 0., 1.
    if kinds in ([t], [t, p]):
      return sampler.filters[0].t, sampler.filters[1].p if kinds[1:] else 1.
  raise ValueError(f"Requests that share a batch are sampled by 'greedy', 'temperature(t)' or "
                   f"'top_p(p, t)', not by {sampler}.")


@functools.cache
def _insert():
  """(state, cache, slot, state of a prefill, its cache) -> (state, cache): the first row of the
  prefill is in the slot, and nothing of the request before."""
  def put(old, new, slot, axis):
    new = jax.lax.slice_in_dim(new, 0, 1, axis=axis)
    new = jnp.pad(new, [(0, a - b if i != axis else 0) for i, (a, b) in
                        enumerate(zip(old.shape, new.shape))])
    return jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), slot, axis)

  def insert(state, cache, slot, new_state, new_cache):
    rows = lambda axis: lambda old, new: put(old, new, slot, axis)
    fields = ("tokens", "logprobs", "length", "finished")
    state = state.replace(**{f: put(getattr(state, f), getattr(new_state, f), slot, 0)
                             for f in fields})
    return state, cache.replace(
        k=jax.tree.map(rows(1), cache.k, new_cache.k),
        v=jax.tree.map(rows(1), cache.v, new_cache.v),
        tokens=jax.tree.map(rows(0), cache.tokens, new_cache.tokens))
  return jax.jit(insert, donate_argnums=(0, 1), compiler_options=cpu.lean_options())


class Slots:
  """R slots. All sizes are fixed, so that nothing compiles once each program was used.

  admit() puts a request into a slot, advance() writes a token of each, fetch() has the answers so
  far. A slot is free once its answer has finished; what is then in it is overwritten.
  """

  def __init__(self, model, params, mesh, *, slots, prompt, new, stops, cache_dtype=None):
    """prompt: P; new: N; stops: [ids] that end every answer; slots become a multiple of the rows
    that the mesh needs."""
    self._model, self._params, self._new = model, params, new
    self._rows = sharding.batch_rows(mesh)
    self.count = inputs.round_up(slots, self._rows)
    self._first, self._size, self._ring = prompt, prompt + new, prompt
    self._cache_dtype = cache_dtype or model.config.llm.dtype
    self._stops = np.full(inputs.bucket(max(len(stops), 1)), -1, np.int32)
    self._stops[:len(stops)] = stops
    self._mesh = mesh
    self.reset()

  def reset(self):
    """All slots empty."""
    rows, new = self.count, self._new
    self._seed, self._limit = np.zeros(rows, np.uint32), np.zeros(rows, np.int32)
    self._temperature, self._p = np.zeros(rows, np.float32), np.ones(rows, np.float32)
    self._grammars = structured.BatchMatcher(rows, self._model.config.llm.vocab_size)

    def empty():
      cache = self._model.apply(
          {"params": self._params}, method=lambda m: m.llm.empty_cache(
              rows, self._size, self._cache_dtype))
      state = State.init(Request(self._seed, jnp.asarray(self._limit), self._stops), new)
      return state, cache
    # Placed as the programs leave it: another placement would compile them again.
    everywhere = jax.sharding.NamedSharding(self._mesh, jax.sharding.PartitionSpec())
    self._state, self._cache = jax.jit(empty, out_shardings=everywhere)()

  def admit(self, slot, batch, sampler, automaton=None):
    """Prefills a session.Batch of one request, whose room for new tokens is N, into a slot; its
    first token is there afterwards. sampler: as row_numbers() takes it. automaton: that of its
    grammar. Raises ValueError for another room."""
    if batch.new != self._new:
      raise ValueError(f"The batch has room for {batch.new} new tokens, the slots for {self._new}.")
    temperature, p = row_numbers(sampler)
    each = lambda x: np.full(self._rows, x, np.float32)
    first = structured.BatchMatcher(self._rows, self._model.config.llm.vocab_size)
    first.put(0, automaton, batch.limit[0])
    request = Request(np.resize(batch.seeds, self._rows), batch.limit, self._stops, first.masks())
    state, (cache, _) = generate.prefill()(
        self._model, self._params, batch.arrays, request, RowSample(each(temperature), each(p)),
        new=self._new, repeat=1, cache_dtype=self._cache_dtype)
    self._state, self._cache = _insert()(self._state, self._cache, np.int32(slot), state, cache)
    self._seed[slot], self._limit[slot] = batch.seeds[0], batch.limit[0]
    self._temperature[slot], self._p[slot] = temperature, p
    self._grammars.put(slot, automaton, batch.limit[0])

  def advance(self, finished, masked=False):
    """One token more of each answer; finished: bool [R], answers that end here. masked: by the
    program for answers with a grammar, which is taken where one has."""
    masks = None
    if self._grammars or masked:
      state = self.fetch()
      masks = self._grammars.masks(state.replace(finished=state.finished | finished))
    request = Request(self._seed.copy(), self._limit.copy(), self._stops, masks)
    sample = RowSample(self._temperature.copy(), self._p.copy())
    state = self._state.replace(step=np.int32(0))
    cache = self._cache.replace(length=np.int32(self._ring))
    self._state, (self._cache, _) = generate.advance()(
        self._model, self._params, request, sample, state, (cache, None), finished, 1)
    self._ring += 1
    if self._ring == self._size:
      self._ring = self._first

  def fetch(self):
    """The State, numpy, of R rows."""
    return distributed.fetch(self._state)
