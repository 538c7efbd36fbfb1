"""Exact match: the prediction is the reference, character for character (answers, OCR)."""
import numpy as np

from evaluators.metrics import text


def score(rows, tokenizer):
  """{"acc"}: share of rows whose prediction equals their "suffix"."""
  del tokenizer
  for row in rows:
    row["score"] = text.exact_match(row["prediction"], row["suffix"])
    row["correct"] = row["score"] == 1
  return {"acc": float(np.mean([row["score"] for row in rows]))}
