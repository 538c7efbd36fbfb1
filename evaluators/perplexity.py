"""Perplexity: how likely the given answers are, each token after the true ones before it."""
import functools
import math

import jax
import numpy as np

from big_vlm import distributed
from big_vlm.decode.generate import lean_options
from big_vlm.training import losses
from evaluators.metrics import groups
from evaluators.predictions import require_keys

PERCENT = ()


@functools.cache
def _nlls():
  def nlls(model, params, batch):
    targets = batch["text"][:, 1:]
    hidden = model.apply({"params": params}, batch["text"][:, :-1], batch["mask_ar"][:, :-1],
                         batch.get("image"))
    head = lambda h: model.apply({"params": params}, h, method="logits")
    return losses.token_nll(head, hidden, targets, losses.chunk_size(*targets.shape))
  return jax.jit(nlls, static_argnames="model", compiler_options=lean_options())


def likelihoods(model, params, batch):
  """numpy float32 [B, T]: -log p of text[:, 1:], of a batch as trainings have it."""
  return distributed.fetch(_nlls()(model, params, batch))


def row(nlls, example, tokenizer):
  """What a row has of the answer: its tokens, the eos included, and -log p of each.

  nlls [T]; example: {"text", "mask_loss" [T + 1]}, one row of the batch.
  """
  wanted = np.flatnonzero(example["mask_loss"][1:])
  tokens = example["text"][1:][wanted]
  prompt = example["text"][:wanted[0] + 1 if len(wanted) else None]
  return {"prefix": tokenizer.to_str(prompt).removesuffix("\n"),
          "suffix": tokenizer.to_str(tokens), "prediction": "", "tokens": tokens.tolist(),
          "finish_reason": "", "nlls": np.round(nlls[wanted], 6).tolist(),
          "logprobs": np.round(-nlls[wanted], 5).tolist()}


def score(rows, tokenizer):
  """Nats: {"nll": mean over examples of the mean over an answer's tokens, what a training's loss is
  without smoothing; "nll_per_token": mean over all tokens; "perplexity": exp of that}.

  Padding and prompt do not count. Raises ValueError for an answer without tokens.
  """
  del tokenizer
  require_keys(rows, ["nlls"], "perplexity")
  for r in rows:
    if not r["nlls"]:
      raise ValueError(f"The answer of {r['id']!r} has no tokens: its prompt fills the text. Raise "
                       "text_len.")
    r.update(references=[r["suffix"]], score=groups.mean(r["nlls"]), correct=None)
  per_token = groups.mean(nll for r in rows for nll in r["nlls"])
  return {"nll": groups.mean(r["score"] for r in rows), "nll_per_token": per_token,
          "perplexity": math.exp(min(per_token, 700.))}
