"""Perplexity: how likely the given answers are, each token after the true ones before it."""
import math

import numpy as np

from big_vlm import distributed, scoring
from evaluators.metrics import groups
from evaluators.rows import need

PERCENT = ()


def likelihoods(model, params, batch):
  """numpy float32 [B, T]: -log p of text[:, 1:], of a batch as trainings have it."""
  hidden = scoring.hidden_states(
      model, params, {**batch, "text": batch["text"][:, :-1], "mask_ar": batch["mask_ar"][:, :-1]})
  return distributed.fetch(scoring.nll(model, params, hidden, batch["text"][:, 1:]))


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
  need(rows, ["nlls"], "perplexity")
  for r in rows:
    if not r["nlls"]:
      raise ValueError(f"The answer of {r['id']!r} has no tokens: its prompt fills the text. Raise "
                       "text_len.")
    r.update(references=[r["suffix"]], score=groups.mean(r["nlls"]), correct=None)
  per_token = groups.mean(nll for r in rows for nll in r["nlls"])
  return {"nll": groups.mean(r["score"] for r in rows), "nll_per_token": per_token,
          "perplexity": math.exp(min(per_token, 700.))}
