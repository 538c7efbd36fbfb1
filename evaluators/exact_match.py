"""Exact match: the prediction is the reference, character for character (answers, OCR)."""
from evaluators.metrics import groups, text
from evaluators.predictions import read_suffixes

PERCENT = ("acc",)


def score(predictions, tokenizer):
  """{"acc"}: fraction of predictions that equal their "suffix"."""
  del tokenizer
  read_suffixes(predictions, "exact_match")
  for p in predictions:
    p["score"] = text.exact_match(p["prediction"], p["suffix"])
    p["correct"] = p["score"] == 1
  return {"acc": groups.mean(p["score"] for p in predictions)}
