"""Error rates of music scores (GrandStaff): of characters, symbols and lines, lower is better."""
from evaluators.metrics import sequence
from evaluators.predictions import answer_text, require_keys

PERCENT = ()  # the rates are in per cent already


def score(predictions, tokenizer):
  """{"cer", "ser", "ler"} in per cent against "answer".

  A prediction's "score" is its symbol error rate, and "errors" has {rate: [distance, length of the
  reference]}.
  """
  del tokenizer
  require_keys(predictions, ["answer"], "sequence_error")
  for p in predictions:
    p["answer"] = answer_text(p["answer"], p)
    p["references"] = [p["answer"]]
    p["errors"] = {rate: list(pair) for rate, pair in
                   sequence.sequence_errors(p["prediction"], p["answer"]).items()}
    distance, length = p["errors"]["ser"]
    p["score"], p["correct"] = 100 * distance / length, p["prediction"] == p["answer"]
  return sequence.error_rates([p["prediction"] for p in predictions],
                              [p["answer"] for p in predictions])
