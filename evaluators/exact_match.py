"""Exact match: the prediction is the reference, character for character (answers, OCR)."""
from evaluators.metrics import groups, text
from evaluators.predictions import answer_text, require_keys

PERCENT = ("acc",)


def score(predictions, tokenizer):
  """{"acc"}: fraction of predictions that equal their "suffix"."""
  del tokenizer
  require_keys(predictions, ["suffix"], "exact_match")
  for p in predictions:
    p["suffix"] = answer_text(p["suffix"], p)
    p["references"] = [p["suffix"]]
    p["score"] = text.exact_match(p["prediction"], p["suffix"])
    p["correct"] = p["score"] == 1
  return {"acc": groups.mean(p["score"] for p in predictions)}
