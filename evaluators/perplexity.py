"""Perplexity: the likelihood of given answers, each token after the true ones before it."""
import math

import numpy as np

from big_vlm import distributed, scoring
from evaluators.metrics import groups
from evaluators.predictions import require_keys

PERCENT = ()


def likelihoods(model, params, batch):
  """numpy float32 [B, T]: -log p of text[:, 1:], of a batch as trainings have it."""
  hidden = scoring.hidden_states(
      model, params, {**batch, "text": batch["text"][:, :-1], "mask_ar": batch["mask_ar"][:, :-1]})
  return distributed.fetch(scoring.nll(model, params, hidden, batch["text"][:, 1:]))


def row(nlls, example, tokenizer):
  """The prediction's fields: the answer's tokens, the eos included, and -log p of each.

  nlls [T]; example: {"text", "mask_loss" [T + 1]}, one row of the batch.
  """
  wanted = np.flatnonzero(example["mask_loss"][1:])
  tokens = example["text"][1:][wanted]
  prompt = example["text"][:wanted[0] + 1 if len(wanted) else None]
  return {"prefix": tokenizer.to_str(prompt).removesuffix("\n"),
          "suffix": tokenizer.to_str(tokens), "prediction": "", "tokens": tokens.tolist(),
          "finish_reason": "", "nlls": np.round(nlls[wanted], 6).tolist(),
          "logprobs": np.round(-nlls[wanted], 5).tolist()}


def score(predictions, tokenizer):
  """{"nll", "nll_per_token", "perplexity"} in nats.

  nll is the mean over examples of the mean over an answer's tokens, a training's loss without label
  smoothing; nll_per_token is the mean over all tokens; perplexity is exp of that. Padding and
  prompt do not count. Raises ValueError for an answer without tokens.
  """
  del tokenizer
  require_keys(predictions, ["nlls"], "perplexity")
  for p in predictions:
    if not p["nlls"]:
      raise ValueError(f"The answer of {p['id']!r} has no tokens: its prompt fills the text. Raise "
                       "text_len.")
    p.update(references=[p["suffix"]], score=groups.mean(p["nlls"]), correct=None)
  per_token = groups.mean(nll for p in predictions for nll in p["nlls"])
  return {"nll": groups.mean(p["score"] for p in predictions), "nll_per_token": per_token,
          "perplexity": math.exp(min(per_token, 700.))}
