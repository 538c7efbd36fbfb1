"""Generation: prefill and one compiled while_loop that ends when every row is done.

B batch, L prompt length, N most new tokens, V vocabulary. A row's result depends on its own prompt
and key alone: not on the batch, its order or its padding.
"""
import functools

import flax.struct
import jax
import jax.numpy as jnp

from big_vlm.decode.samplers import SAMPLERS
from big_vlm.models.kv_cache import KVCache

FINISH_REASONS = ("length", "eos")


@flax.struct.dataclass
class DecodeState:
  step: jax.Array  # int32 []: tokens written so far
  tokens: jax.Array  # int32 [B, N]: pad after the end
  logprobs: jax.Array  # float32 [B, N]: of each token under the model, not the sampler
  done: jax.Array  # bool [B]
  cache: KVCache


@functools.partial(jax.jit, static_argnames=("model", "max_new_tokens", "eos", "pad", "sampler",
                                             "cache_dtype"))
def generate(model, params, batch, keys, *, max_new_tokens, eos, pad=0, sampler="greedy",
             cache_dtype="float32"):
  """Continues the prompts of batch {"text", "mask_ar", "mask_input" [B, L], "image"?, "_mask"?}.

  keys: one jax.random key per row [B]. Rows with "_mask" False are not waited for.
  Returns {"tokens" [B, N] (the eos included, then pad), "logprobs" [B, N], "length" [B] tokens
  before the end, "ended" [B] whether by eos}.
  """
  sample = SAMPLERS.build(sampler)
  real = batch.get("_mask", jnp.ones(len(batch["text"]), bool))

  def write(state, logits):
    token = sample(logits, jax.vmap(jax.random.fold_in, (0, None))(keys, state.step))
    logprob = jnp.take_along_axis(jax.nn.log_softmax(logits), token[:, None], axis=1)[:, 0]
    return state.replace(
        step=state.step + 1,
        tokens=state.tokens.at[:, state.step].set(jnp.where(state.done, pad, token)),
        logprobs=state.logprobs.at[:, state.step].set(jnp.where(state.done, 0, logprob)),
        done=state.done | (token == eos))

  def extend(state):
    logits, cache = model.apply({"params": params}, state.tokens[:, state.step - 1], state.cache,
                                method="extend")
    return write(state.replace(cache=cache), logits)

  logits, cache = model.apply(
      {"params": params}, batch["text"], batch["mask_ar"], batch.get("image"), batch["mask_input"],
      max_new_tokens=max_new_tokens, cache_dtype=cache_dtype, method="prefill")
  shape = (len(batch["text"]), max_new_tokens)
  state = DecodeState(jnp.int32(0), jnp.full(shape, pad, jnp.int32), jnp.zeros(shape), ~real, cache)
  state = jax.lax.while_loop(
      lambda s: (s.step < max_new_tokens) & ~jnp.all(s.done), extend, write(state, logits))
  ended = jnp.any(state.tokens == eos, axis=1)
  length = jnp.where(ended, jnp.argmax(state.tokens == eos, axis=1), max_new_tokens)
  return {"tokens": state.tokens, "logprobs": state.logprobs, "length": length, "ended": ended}
