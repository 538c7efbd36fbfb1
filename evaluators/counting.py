"""Counting: TallyQA, simple and complex questions, and CountBenchQA."""
from evaluators.metrics import groups, vqa
from evaluators.rows import need

PERCENT = ("accuracy",)
KINDS = {1: "simple", 0: "complex"}  # -1: a question of the training set, of neither kind


def score(rows, tokenizer):
  """{"accuracy"} against "answer", number words being numbers, and, where rows have "issimple",
  "accuracy/simple" and "accuracy/complex"."""
  del tokenizer
  need(rows, ["answer"], "counting")
  for row in rows:
    row["references"] = [str(row["answer"])]
    row.setdefault("suffix", row["references"][0])
    row["score"] = vqa.counting_accuracy(row["prediction"], row["references"][0])
    row["correct"] = row["score"] == 1
    if (kind := KINDS.get(row.get("issimple"))) is not None:
      row["group"] = kind
  scores = [row["score"] for row in rows]
  parts = groups.by_group(scores, [row.get("group") for row in rows])
  return {"accuracy": groups.mean(scores),
          **{f"accuracy/{kind}": parts[kind][0] for kind in KINDS.values() if kind in parts}}
