"""Tables as HTML: TEDS, its structure alone, and GriTS."""
import functools

from evaluators.metrics import tables
from evaluators.rows import need

METRICS = {"teds": tables.teds, "s_teds": functools.partial(tables.teds, structure_only=True),
           "grits_top": tables.grits_top, "grits_con": tables.grits_con}
PERCENT = tuple(METRICS)


def score(rows, tokenizer):
  """{"teds", "s_teds", "grits_top", "grits_con"} against "html", 0..1; a row's "score" is TEDS."""
  del tokenizer
  need(rows, ["html"], "tables")
  said = {i: row["prediction"] for i, row in enumerate(rows)}
  right = {i: row["html"] for i, row in enumerate(rows)}
  found = {name: tables.mean(metric, said, right) for name, metric in METRICS.items()}
  for i, row in enumerate(rows):
    row["references"] = [row["html"]]
    row["score"] = float(found["teds"][1][i])
    row["correct"] = row["score"] == 1
  return {name: float(mean) for name, (mean, _) in found.items()}
