"""Classes, lists of labels and numbers in answers; how sure a model is, and how often it is right.

What the examples leave undefined is None.
"""
import math
import re

import numpy as np

NUMBER = re.compile(r"[-+]?(\d+(,\d{3})+|\d+)?(\.\d+)?([eE][-+]?\d+)?")


def confusion_matrix(targets, predictions):
  """(classes, int [C, C]): row: the target, column: the prediction. Classes are all of both sides,
  sorted: an answer that is no class of the targets has a column and an empty row.

  targets, predictions: [str]. Raises ValueError where their numbers differ.
  """
  _check(targets, predictions)
  classes = sorted({*targets, *predictions})
  number = {name: i for i, name in enumerate(classes)}
  counts = np.zeros((len(classes), len(classes)), np.int64)
  np.add.at(counts, ([number[t] for t in targets], [number[p] for p in predictions]), 1)
  return classes, counts


def balanced_accuracy(targets, predictions):
  """The mean over the targets' classes of the fraction of their examples that are right, 0..1; None
  without examples. Chance is 1 over the number of classes, however unequal they are."""
  _, counts = confusion_matrix(targets, predictions)
  totals = counts.sum(1)
  found = totals > 0
  return float((counts.diagonal()[found] / totals[found]).mean()) if found.any() else None


def f1(targets, predictions):
  """{"micro", "macro"}, 0..1: F1 of lists of labels, of which order and repeats do not count.

  micro: 2 TP / (2 TP + FP + FN) over all labels; macro: the mean of that of each label that either
  side has. Both are None where no example has a label on either side. For single classes give
  lists of one.
  """
  _check(targets, predictions)
  pairs = [(set(t), set(p)) for t, p in zip(targets, predictions)]
  if odd := next((x for x in (*targets, *predictions) if isinstance(x, str)), None):
    raise TypeError(f"f1 takes lists of labels, not the text {odd!r}, which is read by letters.")
  labels = sorted(set().union(*(t | p for t, p in pairs)))
  if not labels:
    return {"micro": None, "macro": None}
  right = np.array([sum(label in t and label in p for t, p in pairs) for label in labels])
  sides = np.array([sum((label in t) + (label in p) for t, p in pairs) for label in labels])
  return {"micro": float(2 * right.sum() / sides.sum()), "macro": float((2 * right / sides).mean())}


def number(text):
  """The float that a text is, "-1,234.5", "3", ".5" or "1e3"; None for any other text."""
  text = text.strip()
  if not (match := NUMBER.fullmatch(text)) or not (match[1] or match[3]):
    return None
  return float(text.replace(",", "")) if math.isfinite(float(text.replace(",", ""))) else None


def mean_absolute_error(targets, predictions):
  """The mean of |prediction - target| of floats; None without examples."""
  _check(targets, predictions)
  return float(np.abs(np.subtract(predictions, targets)).mean()) if len(targets) else None


def root_mean_squared_error(targets, predictions):
  """The root of the mean of (prediction - target)^2 of floats; None without examples."""
  _check(targets, predictions)
  squares = np.square(np.subtract(predictions, targets))
  return float(np.sqrt(squares.mean())) if len(targets) else None


def calibration_curve(correct, probabilities, bins=10):
  """[(mean probability, fraction correct, examples)] of each bin of probabilities with an example.

  The bins have equal widths; a probability on the border of two is in the lower one. Raises
  ValueError for a probability outside of 0..1.
  """
  _check(correct, probabilities)
  correct, probabilities = np.asarray(correct, float), np.asarray(probabilities, float)
  if not ((probabilities >= 0) & (probabilities <= 1)).all():
    raise ValueError("Probabilities are in 0..1: give the exponential of the sum of an answer's "
                     "log-probabilities.")
  place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities)
  return [(float(probabilities[place == b].mean()), float(correct[place == b].mean()),
           int((place == b).sum())) for b in range(bins) if (place == b).any()]


def calibration_error(correct, probabilities, bins=10):
  """The expected calibration error (Guo et al. 2017, arXiv 1706.04599, equation 3), 0..1: the mean
  over the examples of |fraction correct - mean probability| of their bin; None without examples."""
  curve = calibration_curve(correct, probabilities, bins)
  total = sum(count for *_, count in curve)
  return sum(count * abs(right - sure) for sure, right, count in curve) / total if total else None


def _check(first, second):
  if len(first) != len(second):
    raise ValueError(f"{len(first)} examples on one side and {len(second)} on the other: give one "
                     "of each for every example.")
