"""Logits and log-probabilities of given texts, and the decoder laid open layer by layer.

VLM.logits, score and score_tokens and the evaluator of perplexity share the compiled functions
hidden_states() and nll(). B batch, T text tokens, S suffix tokens, D width, V vocabulary.
"""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import cpu, distributed, families, image_input, inputs, prompt_input, sharding
from big_vlm.nn import layers
from pp import text_layout

MAX_ROWS = 64  # that are read side by side
CHUNK, CHUNK_TOKENS = 16, 1024  # the most positions, and tokens of a device, whose logits coexist


def _compiled(f):
  """f(model, params, ...) jitted with compiler options, which a function that is itself being
  traced (for a gradient, say) cannot have."""
  jit = functools.cache(lambda traced: jax.jit(
      f, static_argnums=0, compiler_options=None if traced else cpu.lean_options()))

  @functools.wraps(f)
  def call(*args):
    return jit(any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(args[1:])))(*args)
  return call


@_compiled
def hidden_states(model, params, batch):
  """[B, T, D] at the text positions of a batch {"text", "mask_ar", and maybe other keys}."""
  return model.apply({"params": params}, batch["text"], batch["mask_ar"], batch.get("image"),
                     batch.get("mask_input"), image_index=batch.get("image_index"))


@_compiled
def nll(model, params, hidden, targets):
  """-log p(target) float32 [B, T] of hidden [B, T, D] and targets int [B, T], in chunks."""
  rows = len(targets) // sharding.batch_rows(jax.sharding.get_abstract_mesh())
  chunk = min(CHUNK, max(CHUNK_TOKENS // max(rows, 1), 1))
  return chunked_nll(lambda h: model.apply({"params": params}, h, method="logits"),
                     hidden, targets, chunk)


def chunked_nll(logits_fn, hidden, targets, chunk):
  """As nll(), with logits_fn: [B, C, D] -> [B, C, V] and a chunk of C positions."""
  length = targets.shape[1]

  def split(x):
    x = jnp.pad(x, ((0, 0), (0, -length % chunk)) + ((0, 0),) * (x.ndim - 2))
    return jnp.moveaxis(x.reshape(len(x), -1, chunk, *x.shape[2:]), 1, 0)

  def of_chunk(pair):
    logits, targets = logits_fn(pair[0]), pair[1][..., None]
    return jax.nn.logsumexp(logits, axis=-1) - jnp.take_along_axis(logits, targets, axis=-1)[..., 0]
  out = jax.lax.map(of_chunk, (split(hidden), split(targets)))
  return jnp.moveaxis(out, 0, 1).reshape(len(targets), -1)[:, :length]


def score(model, params, prompts, suffixes, images, tokenizer, mesh):
  """[[float]] of suffix_logprobs(), of prompts and suffixes as VLM.score takes them."""
  prompts, suffixes = prompt_input.as_list(prompts), prompt_input.as_list(suffixes, "suffix")
  prompts = prompts * len(suffixes) if len(prompts) == 1 else prompts
  if len(prompts) != len(suffixes):
    raise ValueError(f"There are {len(prompts)} prompts and {len(suffixes)} suffixes: give one "
                     "suffix for each prompt, or one prompt for all.")
  image_input.check_seen(images, inputs.model_limits(model.config).image_size)
  images = list(image_input.by_prompt(images, len(prompts)))
  suffixes, rows = [_suffix(s, tokenizer) for s in suffixes], []
  for at in range(0, len(prompts), MAX_ROWS):
    part = slice(at, at + MAX_ROWS)
    rows += suffix_logprobs(model, params, prompts[part], suffixes[part], images[part], tokenizer,
                            mesh, first=at)
  return rows


def _suffix(suffix, tokenizer):
  if isinstance(suffix, str) and tokenizer:
    return text_layout.suffix_ids(tokenizer, suffix)
  if ids := prompt_input.ids(suffix, tokenizer):
    return ids
  raise ValueError("A suffix has no tokens: there is nothing to score.")


def suffix_logprobs(model, params, prompts, suffixes, images, tokenizer, mesh, first=0):
  """[[float]]: the log-probability of each token of each suffix [ids] after its prompt. first: the
  number of the first prompt, for errors."""
  batch = inputs.pack_requests(prompts, images, tokenizer, inputs.model_limits(model.config),
                               rows=sharding.batch_rows(mesh), suffixes=suffixes,
                               first=first).batch
  # The positions of the suffix come first; those after them, up to a bucket, are padding.
  at = np.argsort(1 - batch.pop("mask_loss"), axis=1, kind="stable")
  at = at[:, :inputs.bucket(max(map(len, suffixes)))]
  batch["before"] = np.maximum(at - 1, 0)[..., None]
  batch["targets"] = np.take_along_axis(batch["text"], at, axis=1)
  batch = sharding.make_global_array(mesh, batch)
  hidden = jnp.take_along_axis(hidden_states(model, params, batch), batch["before"], axis=1)
  out = -distributed.fetch(nll(model, params, hidden, batch["targets"]))
  return [out[i, :len(suffix)].tolist() for i, suffix in enumerate(suffixes)]


@_compiled
def _logits(model, params, batch):
  def run(batch):
    hidden = hidden_states(model, params, batch)
    return model.apply({"params": params}, hidden, method="logits")
  return cpu.map_rows(run, batch) if cpu.tuned() else run(batch)


def token_logits(model, params, batch, intercept=None):
  """float32 [B, T, V]; traceable. intercept: see VLM.score_tokens."""
  if intercept is None:
    return _logits(model, params, batch)
  return _apply("logits", model, params, _intercepted(model, params, batch, intercept))


def token_losses(model, params, batch, targets, intercept=None):
  """float32 [B, T]: -log p(target) at each text position; traceable."""
  hidden = (hidden_states(model, params, batch) if intercept is None else
            _intercepted(model, params, batch, intercept))
  return nll(model, params, hidden, targets)


def _intercepted(model, params, batch, intercept):
  """hidden_states(), one layer after another, so that `intercept`, an ordinary function with its
  own closures, stands between compiled parts."""
  if getattr(model.config.llm, "embed_width", None):
    raise ValueError("layer_intercept_fn: this OPT projects its embeddings, which are narrower "
                     "than its layers, so one function cannot see both.")
  x, metadata = _apply(_embed, model, params, batch)
  x = _apply(_positioned, model, params, intercept(x, -1), batch["text"], metadata)
  config = model.config.llm
  decoder = families.of(config).Model
  args = decoder.block_args(config, metadata, metadata)
  for i in range(config.depth):
    layer = jax.tree.map(lambda leaf, i=i: leaf[i], params["llm"]["layers"])
    x = intercept(_block(decoder.block(config, False), layer, x, jnp.int32(i), args), i)
  return _apply(_norm, model, params, x)[:, -batch["text"].shape[1]:]


@functools.partial(jax.jit, static_argnames=("part", "model"))
def _apply(part, model, params, *args):
  return model.apply({"params": params}, *args, method=part)


@functools.partial(jax.jit, static_argnames="block")
def _block(block, params, x, i, args):
  (x, _), _ = block.apply({"params": params}, (x, None), i, *args)
  return x


def _embed(module, batch):
  """The embeddings as the table has them, before the family's scale, images in front."""
  x, metadata = module.embed(batch["text"], batch["mask_ar"], batch.get("image"))
  rows = layers.lookup(module.llm.embedder.input_embedding, batch["text"]).astype(x.dtype)
  return jnp.concatenate([x[:, :-rows.shape[1]], rows], axis=1), metadata


def _positioned(module, x, tokens, metadata):
  """x as _embed() gives it, the rows of text scaled; tokens [B, T] tells how many these are."""
  images, text = jnp.split(x, [x.shape[1] - tokens.shape[1]], axis=1)
  x = jnp.concatenate([images, module.llm.embedder.scale(text)], axis=1)
  return module.llm.positioned(x, metadata)


def _norm(module, x):
  return module.llm.final_norm(x)
