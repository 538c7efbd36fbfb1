"""Error rates of music scores (GrandStaff): of characters, symbols and lines, lower is better."""
from evaluators.metrics import sequence
from evaluators.rows import need

PERCENT = ()  # they are in per cent already


def score(rows, tokenizer):
  """{"cer", "ser", "ler"} in per cent against "answer". A row's "score" is its symbol error rate,
  and "errors" has {rate: [distance, length of the reference]}."""
  del tokenizer
  need(rows, ["answer"], "sequence_error")
  for row in rows:
    row["references"] = [row["answer"]]
    row["errors"] = {rate: list(pair) for rate, pair in
                     sequence.sequence_errors(row["prediction"], row["answer"]).items()}
    distance, length = row["errors"]["ser"]
    row["score"], row["correct"] = 100 * distance / length, row["prediction"] == row["answer"]
  return sequence.error_rates([row["prediction"] for row in rows], [row["answer"] for row in rows])
