"""The compiled parts of decoding: a prefill and a loop that ends when every request has finished.

B prompts, T prompt length, F images of a prompt, U unique images, R requests (B x repeat), N the
most new tokens. Programs depend on these sizes (bucketed by big_vlm/inputs.py) and on the kind of
sampler, not on its numbers, seeds, limits or stops.
"""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import cpu, distributed, tpu
from big_vlm.decode.search import State


def read_prompts(model, params, batch, request, search, *, new, repeat, cache_dtype):
  """(State, carry) after the first token of each request."""
  logits, hidden, cache = model.apply(
      {"params": params}, batch["text"], batch["mask_ar"], batch.get("image"),
      batch["mask_input"], image_index=batch.get("image_index"), max_new_tokens=new,
      cache_dtype=cache_dtype, method="prefill")
  if repeat > 1:
    logits, hidden = (jnp.repeat(x, repeat, axis=0) for x in (logits, hidden))
    cache = cache.repeat(repeat)
  return search.init(request, State.init(request, new), logits, hidden, cache)


@functools.cache
def prefill():
  """read_prompts(), compiled."""
  return jax.jit(read_prompts, static_argnames=("model", "new", "repeat", "cache_dtype"),
                 compiler_options=cpu.lean_options())


@functools.cache
def advance():
  """(model, params, request, search, state, carry, finished [R], max_step) -> (State, carry).

  Runs until `max_step` tokens are written or all requests have finished; `finished` adds some that
  have. The carry is donated.
  """
  def advance(model, params, request, search, state, carry, finished, max_step):
    extend = lambda tokens, cache: model.apply({"params": params}, tokens, cache, method="extend")
    return jax.lax.while_loop(
        lambda s: (s[0].step < max_step) & ~jnp.all(s[0].finished),
        lambda s: search.step(request, *s, extend),
        (state.replace(finished=state.finished | finished), carry))
  return jax.jit(advance, static_argnames="model", donate_argnames="carry",
                 compiler_options=cpu.lean_options() or tpu.window_options())


def decode(model, params, batch, request, search, *, new, repeat=1, cache_dtype="float32",
           every=None):
  """Yields the State, numpy, at the end; with `every` also each time so many tokens are written.

  batch {"text", "mask_ar", "mask_input" [B, T], "image" [B, (F,) H, W, 3] or, with "image_index"
  [B, F], [U, H, W, 3]}; requests are those of the first prompt, `repeat` times, then of the next.
  The caller may send a bool [R] back: requests to end. The device runs one chunk ahead of the
  State that is yielded.
  """
  state, carry = prefill()(model, params, batch, request, search, new=new, repeat=repeat,
                           cache_dtype=cache_dtype)
  finished, chunk = np.zeros(len(request.limit), bool), every or new
  for max_step in range(chunk, new + chunk, chunk):
    ready = state
    state, carry = advance()(model, params, request, search, state, carry, finished,
                             min(max_step, new))
    if every:  # read while the device computes
      ready = distributed.fetch(ready)
      sent = yield ready
      finished = finished if sent is None else sent
      if np.all(ready.finished | finished):
        return
  yield distributed.fetch(state)


def decode_by_masks(model, params, batch, request, search, masks, *, new, repeat, cache_dtype):
  """decode() where the host says which tokens may come next: masks(State, numpy) gives the Masks of
  the next token, masks() those of the first. Yields the State after each token."""
  state, carry = prefill()(model, params, batch, request.replace(grammar=masks()), search, new=new,
                           repeat=repeat, cache_dtype=cache_dtype)
  for step in range(1, new + 1):
    ready = distributed.fetch(state)
    sent = yield ready
    finished = ready.finished if sent is None else ready.finished | sent
    if step == new or np.all(finished):
      return
    state, carry = advance()(model, params, request.replace(grammar=masks(ready)), search, state,
                             carry, finished, step + 1)
