"""Counting: TallyQA, simple and complex questions, and CountBenchQA."""
from evaluators.metrics import groups, vqa
from evaluators.predictions import answer_text, require_keys

PERCENT = ("accuracy",)
COMPLEXITY = {1: "simple", 0: "complex"}  # -1 marks the training set's questions, which are neither


def score(predictions, tokenizer):
  """{"accuracy"} against "answer", number words being numbers.

  Where predictions have "issimple", also "accuracy/simple" and "accuracy/complex".
  """
  del tokenizer
  require_keys(predictions, ["answer"], "counting")
  for p in predictions:
    p["references"] = [answer_text(p["answer"], p)]
    p.setdefault("suffix", p["references"][0])
    p["score"] = vqa.counting_accuracy(p["prediction"], p["references"][0])
    p["correct"] = p["score"] == 1
    if p.get("issimple") in COMPLEXITY:
      p["group"] = COMPLEXITY[p["issimple"]]
  scores = [p["score"] for p in predictions]
  parts = groups.by_group(scores, [p.get("group") for p in predictions])
  return {"accuracy": groups.mean(scores),
          **{f"accuracy/{group}": parts[group][0] for group in COMPLEXITY.values()
             if group in parts}}
