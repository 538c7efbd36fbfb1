"""The activations of a model, and decoding by hand: what VLM.outputs, image_features, prefill and
extend compile.

B batch, T text tokens, V vocabulary.
"""
import functools

import jax
import jax.numpy as jnp

from big_vlm import scoring
from big_vlm.families import paligemma
from pp.names import pick


@functools.partial(jax.jit, static_argnames=("model", "names"))
def outputs(model, params, batch, names):
  """{name: array} of paligemma.outputs; XLA computes nothing else."""
  found = paligemma.outputs(model, params, batch["text"], batch["mask_ar"], batch.get("image"))
  return {name: pick(found, name, "activation") for name in names}


@functools.partial(jax.jit, static_argnames="model")
def image_features(model, params, images):
  return model.apply({"params": params}, images, method="embed_image")


@functools.partial(jax.jit, static_argnames=("model", "last"))
def last_logits(model, params, batch, last):
  """float32 [B, last, V]: next-token logits at the last positions."""
  hidden = scoring.hidden_states(model, params, batch)[:, -last:]
  return model.apply({"params": params}, hidden, method="logits")


@functools.partial(jax.jit, static_argnames=("model", "new"))
def prefill(model, params, batch, new):
  """(logits [B, V], nn.kv_cache.KVCache with room for `new` tokens)."""
  logits, _, cache = model.apply(
      {"params": params}, batch["text"], batch["mask_ar"], batch.get("image"), max_new_tokens=new,
      cache_dtype=model.config.llm.dtype, method="prefill")
  return logits, cache


@functools.partial(jax.jit, static_argnames="model")
def extend(model, params, tokens, cache):
  """(logits [B, V], cache) after tokens int32 [B]."""
  logits, _, cache = model.apply({"params": params}, jnp.asarray(tokens), cache, method="extend")
  return logits, cache
