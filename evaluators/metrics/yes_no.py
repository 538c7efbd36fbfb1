"""Questions of yes or no: POPE, whether a model names objects that are not in the image."""
from evaluators.metrics import groups, ids, text


def yes_no_accuracy(prediction, target):
  """1.0 if the lower-case prediction is the target, "yes" or "no", else 0.0.

  PaliGemma's rule for POPE (big_vision): "Yes" is yes; "yes.", "yes it is" and "" are wrong.

  Raises:
    ValueError: where the target is neither "yes" nor "no".
    TypeError: where either is not a string.
  """
  text.exact_match(prediction, target)  # for its errors
  _check(target)
  return float(prediction.lower() == target)


def official_reading(prediction):
  """"yes" or "no", as POPE's own script reads an answer: "no" if no, No or not is a word of it.

  Only the text before the first point counts, commas are removed, words are split at single spaces.
  All else is a yes: "NO", "nope", "no!", "I am not sure" is no, "" is yes.
  Source: AoiDragon/POPE (formerly RUCAIBox/POPE), evaluate.py.
  """
  words = prediction.split(".")[0].replace(",", "").split(" ")
  return "no" if {"No", "not", "no"} & set(words) else "yes"


def pope(predictions, targets):
  """All metrics of one set of POPE, by both rules; fractions in 0..1.

    accuracy, precision, recall, f1, yes_ratio            by `yes_no_accuracy`; yes is positive
    valid                                                 answers that are yes or no by that rule
    official_accuracy, official_precision, ..._yes_ratio  by `official_reading`

  PaliGemma reports the mean accuracy of the random, popular and adversarial sets of 3,000
  questions; others often F1. Where a rate has no denominator (a model that never says yes has no
  precision) it is 0; the official script stops there.

  Args:
    predictions: list of str.
    targets: list of "yes" and "no" as long.

  Raises:
    ValueError: where the lists are empty or differ in length, or a target is neither.
  """
  predictions, targets = zip(*ids.rows(predictions=predictions, targets=targets))
  for target in targets:
    _check(target)
  lower = [prediction.lower() for prediction in predictions]
  official = _rates([official_reading(p) for p in predictions], targets)
  return {**_rates(lower, targets), "valid": groups.mean(p in ("yes", "no") for p in lower),
          **{f"official_{name}": value for name, value in official.items()}}


def _rates(answers, targets):
  pairs = list(zip(answers, targets))
  hits = sum(s == t == "yes" for s, t in pairs)
  yes, positives = answers.count("yes"), targets.count("yes")
  return {"accuracy": groups.mean(s == t for s, t in pairs),
          "precision": hits / yes if yes else 0.0,
          "recall": hits / positives if positives else 0.0,
          "f1": 2 * hits / (yes + positives) if yes + positives else 0.0,
          "yes_ratio": yes / len(pairs)}


def _check(target):
  if target not in ("yes", "no"):
    raise ValueError(f"A target is {target!r}, but must be 'yes' or 'no', in lower case.")
