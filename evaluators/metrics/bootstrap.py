"""Confidence intervals: how far a figure would move with other examples of the same kind."""
import numpy as np


def interval(scores, *, weights=None, clusters=None, level=0.95, samples=1000, seed=0):
  """The percentile bootstrap interval of a mean (Efron and Tibshirani 1993, chapter 13).

  The examples are drawn anew, with replacement, `samples` times; the interval holds the middle
  `level` of the figures. The same arguments give the same interval. It says nothing of training
  seeds or prompts. With one cluster, or where all scores are equal, it is a point, which
  is a lack of information, not certainty.

  Args:
    scores: [N] floats. For a ratio of sums (a symbol error rate) the numerators, e.g. distances.
    weights: [N] denominators, e.g. lengths of the references; by default 1 each: a mean.
    clusters: [N] hashables; what is drawn are clusters, not examples. Questions on one image, or
      captions of one video, are not independent; drawn singly they look surer than they are.
    level: share of figures inside.
    samples: number of draws.
    seed: of the draws.

  Returns:
    (figure, low, high), floats on the scores' scale.

  Raises:
    ValueError: where the lists are empty, differ in length or hold a NaN, weights sum to 0 or are
      negative, or the level is not within (0, 1).
  """
  scores = np.asarray(list(scores), np.float64)
  weights = np.ones_like(scores) if weights is None else np.asarray(list(weights), np.float64)
  names = range(len(scores)) if clusters is None else list(clusters)
  if not len(scores):
    raise ValueError("No scores to draw from: the set is empty.")
  if not len(scores) == len(weights) == len(names):
    raise ValueError(f"{len(scores)} scores, {len(weights)} weights, {len(names)} clusters: give "
                     "as many of each.")
  if not (np.isfinite(scores).all() and np.isfinite(weights).all()):
    raise ValueError("A score or weight is NaN or infinite. Leave unlabelled examples out, and "
                     "give a failed answer the score 0.")
  if (weights < 0).any() or not weights.sum() > 0:
    raise ValueError("Weights must not be negative, nor all 0.")
  if not 0 < level < 1:
    raise ValueError(f"level is {level}, but must be within 0 and 1, e.g. 0.95 for 95 %.")

  index = {name: i for i, name in enumerate(dict.fromkeys(names))}
  place = np.fromiter((index[name] for name in names), np.int64, len(scores))
  sums = np.stack([np.bincount(place, x, len(index)) for x in (scores, weights)], 1)  # [C, 2]
  rng, figures = np.random.default_rng(seed), []
  for _ in range(samples):
    top, bottom = sums[rng.integers(len(index), size=len(index))].sum(0)
    if bottom:  # a draw may hit empty references only: it has no figure
      figures.append(top / bottom)
  low, high = np.quantile(figures, [(1 - level) / 2, (1 + level) / 2])
  top, bottom = sums.sum(0)
  return float(top / bottom), float(low), float(high)
