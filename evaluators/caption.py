"""Captions: CIDEr over the whole set, and exact match."""
import numpy as np

from evaluators.metrics import caption, text


def score(rows, tokenizer):
  """{"cider" on pycocoevalcap's scale, "exact"} against "captions" (a list), or else "suffix"."""
  del tokenizer
  references = {i: list(row.get("captions") or [row["suffix"]]) for i, row in enumerate(rows)}
  corpus, each = caption.cider({i: row["prediction"] for i, row in enumerate(rows)}, references)
  for i, row in enumerate(rows):
    row["score"] = each[i]
    row["correct"] = any(text.exact_match(row["prediction"], r) for r in references[i])
  return {"cider": float(corpus), "exact": float(np.mean([row["correct"] for row in rows]))}
