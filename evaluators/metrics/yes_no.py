"""Questions of yes or no: POPE, does the model name things that are not in the image?"""
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

  Only what is before the first point counts, commas are removed, words are split at single spaces.
  All else is a yes: "NO", "nope", "no!", "I am not sure" is no, "" is yes.
  Source: AoiDragon/POPE (formerly RUCAIBox/POPE), evaluate.py.
  """
  words = prediction.split(".")[0].replace(",", "").split(" ")
  return "no" if {"No", "not", "no"} & set(words) else "yes"


def pope(predictions, targets):
  """All figures of one set of POPE, by both rules; shares in 0..1.

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
  official = _figures([official_reading(p) for p in predictions], targets)
  return {**_figures(lower, targets), "valid": groups.mean(p in ("yes", "no") for p in lower),
          **{f"official_{name}": value for name, value in official.items()}}


def pope_sets(predictions, targets, sets):
  """{"SET/figure": value} for each set (random, popular, adversarial) and "avgN/figure".

  The last is the mean over the N sets, which PaliGemma's table gives for accuracy.

  Args:
    predictions, targets: as in `pope`.
    sets: list of str as long: the set of each question.

  Raises: as `pope`; ValueError too where `sets` differs in length.
  """
  by_set = {}
  for prediction, target, name in ids.rows(
      predictions=predictions, targets=targets, sets=sets):
    by_set.setdefault(name, ([], []))
    by_set[name][0].append(prediction)
    by_set[name][1].append(target)
  figures = {name: pope(*lists) for name, lists in by_set.items()}
  figures[f"avg{len(figures)}"] = {
      key: groups.mean(f[key] for f in figures.values()) for key in next(iter(figures.values()))}
  return {f"{name}/{key}": value for name, part in figures.items() for key, value in part.items()}


def _figures(said, targets):
  pairs = list(zip(said, targets))
  hits = sum(s == t == "yes" for s, t in pairs)
  yes, positives = said.count("yes"), targets.count("yes")
  return {"accuracy": groups.mean(s == t for s, t in pairs),
          "precision": hits / yes if yes else 0.0,
          "recall": hits / positives if positives else 0.0,
          "f1": 2 * hits / (yes + positives) if yes + positives else 0.0,
          "yes_ratio": yes / len(pairs)}


def _check(target):
  if target not in ("yes", "no"):
    raise ValueError(f"A target is {target!r}, but must be 'yes' or 'no', in lower case.")
