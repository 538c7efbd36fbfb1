"""Generation: one compiled prefill and one compiled loop that ends when every request is done.

B prompts, L prompt length, F images of a prompt, U different images, R requests (B x repeat), N
most new tokens. What is compiled depends on these sizes (bucketed by big_vlm/inputs.py) and on the
kind of sampler, not on its numbers, seeds, limits or stops.
"""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import distributed
from big_vlm.decode import samplers
from big_vlm.decode.search import Request, State

# On a CPU, XLA multiplies bfloat16 and int8 as float32 and would convert the weights of all layers
# ahead of the loops over layers and tokens: 9 GiB more for PaliGemma 3B.
LEAN = {"xla_disable_hlo_passes": "while-loop-invariant-code-motion"}


def lean_options():
  """Compiler options for what only reads the parameters."""
  return LEAN if jax.default_backend() == "cpu" else {}


@functools.cache
def prefill():
  """(model, params, batch, request, search, *, new, repeat, cache_dtype) -> (State, memory)."""
  def prefill(model, params, batch, request, search, *, new, repeat, cache_dtype):
    logits, hidden, cache = model.apply(
        {"params": params}, batch["text"], batch["mask_ar"], batch.get("image"),
        batch["mask_input"], image_index=batch.get("image_index"), max_new_tokens=new,
        cache_dtype=cache_dtype, method="prefill")
    if repeat > 1:
      logits, hidden = (jnp.repeat(x, repeat, axis=0) for x in (logits, hidden))
      cache = cache.repeat(repeat)
    return search.begin(request, State.start(request, new), logits, hidden, cache)
  return jax.jit(prefill, static_argnames=("model", "new", "repeat", "cache_dtype"),
                 compiler_options=lean_options())


@functools.cache
def advance():
  """(model, params, request, search, state, memory, halted [R], until) -> (State, memory).

  Goes on until `until` tokens are written or all are done; halted rows are done. The memory's
  buffers are given away.
  """
  def advance(model, params, request, search, state, memory, halted, until):
    extend = lambda tokens, cache: model.apply({"params": params}, tokens, cache, method="extend")
    return jax.lax.while_loop(
        lambda s: (s[0].step < until) & ~jnp.all(s[0].done),
        lambda s: search.step(request, *s, extend),
        (state.replace(done=state.done | halted), memory))
  return jax.jit(advance, static_argnames="model", donate_argnames="memory",
                 compiler_options=lean_options())


def decode(model, params, batch, request, search, *, new, repeat=1, cache_dtype="float32",
           every=None):
  """Yields the State, numpy, at the end; with `every` also each time so many tokens are written.

  batch {"text", "mask_ar", "mask_input" [B, L], "image" [B, (F,) H, W, 3] or, with "image_index"
  [B, F], [U, H, W, 3]}; requests are those of the first prompt, `repeat` times, then of the next.
  What is sent back is a bool [R]: requests to end. The device is a chunk ahead of what is yielded.
  """
  state, memory = prefill()(model, params, batch, request, search, new=new, repeat=repeat,
                            cache_dtype=cache_dtype)
  halted, chunk = np.zeros(len(request.limit), bool), every or new
  for until in range(chunk, new + chunk, chunk):
    ready = state
    state, memory = advance()(model, params, request, search, state, memory, halted,
                              min(until, new))
    if every:  # read while the device goes on
      ready = distributed.fetch(ready)
      halt = yield ready
      halted = halted if halt is None else halt
      if np.all(ready.done | halted):
        return
  yield distributed.fetch(state)


def generate(model, params, batch, *, max_new_tokens, stops=(), sampler="greedy", seeds=None,
             cache_dtype="float32"):
  """Answers of a batch as decode() takes it, padded rows ("_mask" False) left out of the wait.

  stops: token ids. seeds: uint32 [B]. Returns a numpy State.
  """
  rows = len(batch["text"])
  real = np.asarray(batch.get("_mask", np.ones(rows, bool)))
  request = Request(
      seed=np.zeros(rows, np.uint32) if seeds is None else np.asarray(seeds, np.uint32),
      limit=np.where(real, max_new_tokens, 0).astype(np.int32),
      stops=np.asarray(stops or [-1], np.int32))
  batch = {k: v for k, v in batch.items() if k != "_mask"}
  state, = decode(model, params, batch, request, samplers.build(sampler),
                  new=max(max_new_tokens, 1), cache_dtype=cache_dtype)
  return state
