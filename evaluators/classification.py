"""Classification: each answer is one class, such as "cat", and rare classes count like others."""
import math

from evaluators.metrics import classification as metrics
from evaluators.metrics import groups
from evaluators.predictions import read_suffixes

PERCENT = ("acc", "balanced_acc", "macro_f1", "calibration_error")
UNDEFINED = {"calibration_error": "an answer has no log-probabilities"}


def score(predictions, tokenizer):
  """{"acc", "balanced_acc", "macro_f1", "calibration_error"}, 0..1, against "suffix".

  balanced_acc: the mean of the accuracies of the references' classes. macro_f1: the mean of the F1
  of all classes, also of answers that are none. calibration_error: how far the probability of an
  answer, all of its tokens together, is from how often it is right, see metrics/classification.py.
  Spaces at the ends do not count. The report draws "classes" and "probability" of a prediction.
  """
  del tokenizer
  read_suffixes(predictions, "classification")
  for p in predictions:
    p["classes"] = [p["suffix"].strip(), p["prediction"].strip()]
    p["correct"] = p["classes"][0] == p["classes"][1]
    p["score"] = float(p["correct"])
    if p.get("logprobs"):
      p["probability"] = min(math.exp(math.fsum(p["logprobs"])), 1.)  # rounded, a sum may exceed 0
  targets, answers = zip(*(p["classes"] for p in predictions))
  sure = all("probability" in p for p in predictions)
  found = {"balanced_acc": metrics.balanced_accuracy(targets, answers),
           "macro_f1": metrics.f1([[t] for t in targets], [[a] for a in answers])["macro"],
           "calibration_error": metrics.calibration_error(
               [p["correct"] for p in predictions], [p["probability"] for p in predictions])
               if sure else None}
  return {"acc": groups.mean(p["score"] for p in predictions),
          **{name: math.nan if value is None else value for name, value in found.items()}}
