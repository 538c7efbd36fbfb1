"""Log-probabilities of given texts, and the decoder laid open layer by layer.

B batch, T text tokens, S suffix tokens, D width, V vocabulary.
"""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import families, inputs, sharding
from big_vlm.decode.generate import lean_options
from big_vlm.training import losses

CHUNK = 16  # positions at a time that have logits


@functools.cache
def _suffix_logprobs():
  def suffix_logprobs(model, params, batch, at, targets):
    hidden = model.apply({"params": params}, batch["text"], batch["mask_ar"], batch.get("image"),
                         batch["mask_input"], image_index=batch.get("image_index"))
    hidden = jnp.take_along_axis(hidden, at[..., None], axis=1)
    head = lambda h: model.apply({"params": params}, h, method="logits")
    return -losses.token_nll(head, hidden, targets, chunk=CHUNK)
  return jax.jit(suffix_logprobs, static_argnames="model", compiler_options=lean_options())


def suffix_logprobs(model, params, prompts, suffixes, images, tokenizer, mesh):
  """[[float]]: the log-probability of each token of each suffix [ids] after its prompt."""
  limits = inputs.model_limits(model.config)
  before = [inputs.ids(p, tokenizer, "\n" if limits.image_size else "") for p in prompts]
  if empty := [i for i, p in enumerate(before) if not p]:
    raise ValueError(f"Prompt {empty[0]} has no tokens: a suffix needs one before it.")
  whole = [p + s for p, s in zip(before, suffixes)]
  asked = inputs.pack_requests(whole, images, tokenizer, limits, rows=sharding.batch_rows(mesh))
  batch = dict(asked.batch)
  shape = (len(batch["text"]), inputs.bucket(max(map(len, suffixes))))
  at, targets = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
  for i, (prompt, suffix) in enumerate(zip(before, suffixes)):
    batch["mask_ar"][i, len(prompt):] = 1
    at[i, :len(suffix)] = np.arange(len(suffix)) + len(prompt) - 1
    targets[i, :len(suffix)] = suffix
  out = np.asarray(_suffix_logprobs()(model, params, sharding.make_global_array(mesh, batch), at, targets))
  return [out[i, :len(suffix)].tolist() for i, suffix in enumerate(suffixes)]


def token_logits(model, params, tokens, images, mask_ar, intercept=None):
  """float32 [B, T, V], as VLM.logits; traceable. intercept: see VLM.score_tokens."""
  hidden = _hidden(model, params, tokens, images, mask_ar, intercept)
  return _apply(_head, model, params, hidden)


def token_losses(model, params, tokens, images, mask_ar, targets, intercept=None):
  """float32 [B, T]: -log p(target) at each text position; traceable."""
  hidden = _hidden(model, params, tokens, images, mask_ar, intercept)
  return _apply(_nll, model, params, hidden, targets)


def _hidden(model, params, tokens, images, mask_ar, intercept):
  """Hidden states at the text positions [B, T, D]: one layer after another, so that `intercept`, an
  ordinary function with its own closures, stands between compiled parts."""
  if intercept is None:
    return _apply("__call__", model, params, tokens, mask_ar, images)
  x, seats = _apply(_embed, model, params, tokens, mask_ar, images)
  x = intercept(x, -1)
  config = model.config.llm
  decoder = families.of(config).Model
  args = decoder.block_args(config, seats, seats)
  for i in range(config.depth):
    layer = jax.tree.map(lambda leaf, i=i: leaf[i], params["llm"]["layers"])
    x = intercept(_block(decoder.block(config, False), layer, x, jnp.int32(i), args), i)
  return _apply(_norm, model, params, x)[:, -tokens.shape[1]:]


@functools.partial(jax.jit, static_argnames=("part", "model"))
def _apply(part, model, params, *args):
  return model.apply({"params": params}, *args, method=part)


@functools.partial(jax.jit, static_argnames="block")
def _block(block, params, x, i, args):
  (x, _), _ = block.apply({"params": params}, (x, None), i, *args)
  return x


def _embed(module, tokens, mask_ar, images):
  x, seats = module.embed(tokens, mask_ar, images)
  return module.llm.positioned(x, seats), seats


def _norm(module, x):
  return module.llm.final_norm(x)


def _head(module, hidden):
  return module.logits(hidden)


def _nll(module, hidden, targets):
  return losses.token_nll(module.logits, hidden, targets, chunk=CHUNK)
