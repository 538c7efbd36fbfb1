"""Lists of labels: each answer names any number of classes, such as "cat, dog"."""
import math

from evaluators.metrics import classification as metrics
from evaluators.metrics import groups
from evaluators.predictions import read_suffixes

PERCENT = ("micro_f1", "macro_f1", "all_right")
UNDEFINED = dict.fromkeys(("micro_f1", "macro_f1"), "no reference and no answer has a label")


def check(separator=","):
  if not isinstance(separator, str) or not separator.strip():
    raise ValueError(f"separator={separator!r} is not a text that stands between two labels, such "
                     "as ','.")


def score(predictions, tokenizer, separator=","):
  """{"micro_f1", "macro_f1", "all_right"}, 0..1, against "suffix", labels between separators.

  Order, repeats and spaces around a label do not count. micro_f1 is over all labels, macro_f1 the
  mean of that of each label. all_right: the fraction of answers that are right as a whole. A
  prediction's "score" is 1 or 0 of that.
  """
  del tokenizer
  check(separator)
  read_suffixes(predictions, "label_list")
  split = lambda text: sorted({part.strip() for part in text.split(separator)} - {""})
  lists = []
  for p in predictions:
    lists.append((split(p["suffix"]), split(p["prediction"])))
    p["correct"] = lists[-1][0] == lists[-1][1]
    p["score"] = float(p["correct"])
  found = metrics.f1(*map(list, zip(*lists)))
  return {**{f"{name}_f1": math.nan if value is None else value for name, value in found.items()},
          "all_right": groups.mean(p["score"] for p in predictions)}
