"""Exact match: the prediction is the reference, character for character (answers, OCR)."""
from evaluators.metrics import groups, text
from evaluators.rows import need

PERCENT = ("acc",)


def score(rows, tokenizer):
  """{"acc"}: share of rows whose prediction equals their "suffix"."""
  del tokenizer
  need(rows, ["suffix"], "exact_match")
  for row in rows:
    row["references"] = [row["suffix"]]
    row["score"] = text.exact_match(row["prediction"], row["suffix"])
    row["correct"] = row["score"] == 1
  return {"acc": groups.mean(row["score"] for row in rows)}
