"""Decoding of requests that come and go: each has a slot, a row of one KV cache, and joins the
others between two tokens. Prefill and step are those of generate.py, so the answers are too.

R slots, P cache positions for images and prompt, N for the answer.

  position   0 .......... P-1 | P ................... P+N-1
             the row's prompt | a ring: all rows write the same position, then the next one

A row whose answer begins in the middle of the ring continues at its start. It has at most N tokens,
so it never overwrites itself. Attention does not depend on where a key lies: the cache holds the
place of each token in its text, and whether it is this row's.
"""
import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import cpu, distributed, inputs, sharding
from big_vlm.decode import generate, samplers, search, structured, token_selection
from big_vlm.decode.image_features import ImageFeatures
from big_vlm.decode.search import Request, State

GROUP = 4  # prompts that are read, and images that are encoded, at once; else one by one


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


@dataclasses.dataclass(frozen=True)
class Entry:
  """A request that gets a slot."""
  slot: int
  batch: Any  # a session.Batch of this request alone, of numpy arrays
  sampler: Any  # as row_numbers() takes it
  automaton: Any = None  # of its grammar

  @property
  def shape(self):
    """Entries of one shape are read together: (length, most images) of the prompt."""
    arrays = self.batch.arrays
    return arrays["text"].shape[1], arrays["image_index"].shape[1] if "image" in arrays else 0


@functools.cache
def _admit():
  """(model, params, batch, features, request, search, state, cache, slots [R'], *, new,
  cache_dtype) -> (state, cache): the first R' prompts of the batch are read and in their slots, and
  nothing of the requests before. features: of each image of the batch."""
  def put_at(row, slot, axis):
    def put(old, new):
      new = jax.lax.slice_in_dim(new, row, row + 1, axis=axis)
      new = jnp.pad(new, [(0, a - b if i != axis else 0) for i, (a, b) in
                          enumerate(zip(old.shape, new.shape))])
      return jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), slot, axis)
    return put

  def admit(model, params, batch, features, request, search, state, cache, slots, *, new,
            cache_dtype):
    if features:
      batch = batch | {"image": jnp.stack(features)}
    new_state, (new_cache, _) = generate.read_prompts(
        model, params, batch, request, search, new=new, repeat=1, cache_dtype=cache_dtype)
    fields = ("tokens", "logprobs", "length", "finished")
    for row in range(len(slots)):
      put_row = functools.partial(put_at, row, slots[row])
      state = state.replace(**{f: put_row(0)(getattr(state, f), getattr(new_state, f))
                               for f in fields})
      cache = cache.replace(k=jax.tree.map(put_row(1), cache.k, new_cache.k),
                            v=jax.tree.map(put_row(1), cache.v, new_cache.v),
                            tokens=jax.tree.map(put_row(0), cache.tokens, new_cache.tokens))
    return state, cache
  return jax.jit(admit, static_argnames=("model", "new", "cache_dtype"),
                 donate_argnames=("state", "cache"), compiler_options=cpu.lean_options())


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
    """All slots empty, and no image known."""
    rows, new = self.count, self._new
    self._features = ImageFeatures(self._model, self._params, self._mesh, GROUP)
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

  def admit(self, entries):
    """Reads the prompts of [Entry] of one shape; their first tokens are there afterwards. Raises
    ValueError for a batch with another room for new tokens than N."""
    batches, count = [e.batch for e in entries], len(entries)
    if odd := next((b.new for b in batches if b.new != self._new), None):
      raise ValueError(f"The batch has room for {odd} new tokens, the slots for {self._new}.")
    rows = inputs.round_up(count, self._rows)
    numbers = [row_numbers(e.sampler) for e in entries]
    each = lambda values, dtype: np.resize(np.asarray(values, dtype), rows)  # padding repeats them
    seeds, limits = each([b.seeds[0] for b in batches], np.uint32), each(
        [b.limit[0] for b in batches], np.int32)
    temperatures, ps = each([t for t, _ in numbers], np.float32), each(
        [p for _, p in numbers], np.float32)
    first = structured.BatchMatcher(rows, self._model.config.llm.vocab_size)
    for row, (entry, limit) in enumerate(zip(entries, limits)):
      first.put(row, entry.automaton, limit)
      self._grammars.put(entry.slot, entry.automaton, limit)
    arrays, features = self._joined(batches, rows)
    slots = np.array([e.slot for e in entries], np.int32)
    self._state, self._cache = _admit()(
        self._model, self._params, arrays, features,
        Request(seeds, limits, self._stops, first.masks()), RowSample(temperatures, ps),
        self._state.replace(step=np.int32(0)), self._cache.replace(length=np.int32(self._ring)),
        slots, new=self._new, cache_dtype=self._cache_dtype)
    for of_slots, of_rows in ((self._seed, seeds), (self._limit, limits),
                              (self._temperature, temperatures), (self._p, ps)):
      of_slots[slots] = of_rows[:count]

  def _joined(self, batches, rows):
    """(arrays of so many rows, features of their images) of batches of one request each."""
    names = [name for name in batches[0].arrays if name != "image"]
    joined = {name: np.concatenate([b.arrays[name] for b in batches]) for name in names}
    features = ()
    if "image_index" in joined:
      of_image = self._features.of({digest: image for b in batches for digest, image in
                                    zip(b.image_digests, b.arrays["image"])})
      seen = [b.image_digests[max(i, 0)] for b in batches for i in b.arrays["image_index"][0]]
      features = tuple(of_image[digest] for digest in seen)
      index = np.arange(len(seen), dtype=np.int32).reshape(joined["image_index"].shape)
      joined["image_index"] = np.where(joined["image_index"] < 0, -1, index)
    return sharding.make_global_array(self._mesh, {
        name: np.resize(x, (rows, *x.shape[1:])) for name, x in joined.items()}), features

  def advance(self, finished, masked=False, most=1):
    """Up to `most` tokens more of each answer, one where an answer has a grammar; returns how many.

    finished: bool [R], answers that end here. masked: by the program for answers with a grammar,
    which is taken where one has."""
    masks = None
    if self._grammars or masked:
      state, most = self.fetch(), 1
      masks = self._grammars.masks(state.replace(finished=state.finished | finished))
    request = Request(self._seed.copy(), self._limit.copy(), self._stops, masks)
    sample = RowSample(self._temperature.copy(), self._p.copy())
    state = self._state.replace(step=np.int32(0))
    cache = self._cache.replace(length=np.int32(self._ring))
    self._state, (self._cache, _) = generate.advance()(
        self._model, self._params, request, sample, state, (cache, None), finished,
        min(most, self._size - self._ring))
    steps = int(self._state.step)
    self._ring += steps
    if self._ring == self._size:
      self._ring = self._first
    return steps

  def wait(self):
    """Until the device has done what it was told."""
    jax.block_until_ready(self._state)

  @property
  def images_encoded(self):
    """How many images so far; one whose features are still there is not again."""
    return self._features.encoded

  def fetch(self):
    """The State, numpy, of R rows."""
    return distributed.fetch(self._state)
