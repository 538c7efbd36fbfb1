"""Numbers: how far answers such as "3" or "1,234.5" are from the reference."""
import math

from evaluators.metrics import classification as metrics
from evaluators.predictions import read_suffixes

PERCENT = ("not_numbers",)
UNDEFINED = dict.fromkeys(("mae", "rmse"), "no answer is a number")


def score(predictions, tokenizer):
  """{"mae", "rmse", "not_numbers"} against the number in "suffix".

  mae and rmse: the mean absolute error, and the root of the mean squared one, of the answers that
  are numbers; not_numbers: the fraction of those that are none. A prediction's "score" is its
  absolute error, None without one. Raises ValueError for a reference that is not a number.
  """
  del tokenizer
  read_suffixes(predictions, "numbers")
  pairs = []
  for p in predictions:
    target, answer = metrics.number(p["suffix"]), metrics.number(p["prediction"])
    if target is None:
      raise ValueError(f"The evaluator 'numbers' compares with {p['suffix']!r:.80} of the "
                       f"prediction {p.get('id')!r}, which is not a number such as 3, -1.5 or "
                       "1,234.")
    p["score"], p["correct"] = None if answer is None else abs(answer - target), answer == target
    if answer is not None:
      pairs.append((target, answer))
  targets, answers = zip(*pairs) if pairs else ((), ())
  found = {"mae": metrics.mean_absolute_error(targets, answers),
           "rmse": metrics.root_mean_squared_error(targets, answers)}
  return {**{name: math.nan if value is None else value for name, value in found.items()},
          "not_numbers": 1 - len(pairs) / len(predictions)}
