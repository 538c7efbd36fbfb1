"""Tables as HTML: TEDS, its structure alone, and GriTS."""
import functools

from evaluators.metrics import tables
from evaluators.predictions import answer_text, require_keys

METRICS = {"teds": tables.teds, "s_teds": functools.partial(tables.teds, structure_only=True),
           "grits_top": tables.grits_top, "grits_con": tables.grits_con}
PERCENT = tuple(METRICS)


def score(predictions, tokenizer):
  """{"teds", "s_teds", "grits_top", "grits_con"} in 0..1 against "html".

  A prediction's "score" is its TEDS.
  """
  del tokenizer
  require_keys(predictions, ["html"], "tables")
  for p in predictions:
    p["html"] = answer_text(p["html"], p)
  answers = {i: p["prediction"] for i, p in enumerate(predictions)}
  targets = {i: p["html"] for i, p in enumerate(predictions)}
  found = {name: tables.mean(metric, answers, targets) for name, metric in METRICS.items()}
  for i, p in enumerate(predictions):
    p["references"] = [p["html"]]
    p["score"] = float(found["teds"][1][i])
    p["correct"] = p["score"] == 1
  return {name: float(mean) for name, (mean, _) in found.items()}
