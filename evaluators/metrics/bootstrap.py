"""Confidence intervals: how far a metric would move with other examples of the same kind."""
import numpy as np
from etils import epy

with epy.lazy_imports():  # slow to import
  import scipy.stats

DRAWN_AT_ONCE = 2_000_000  # indices: 16 MB, however many examples there are


def interval(scores, *, weights=None, clusters=None, level=0.95, samples=1000, seed=0):
  """The percentile bootstrap interval of a mean (Efron and Tibshirani 1993, chapter 13).

  Examples are resampled with replacement `samples` times; the interval holds the middle `level` of
  the resulting means. The same arguments give the same interval. It does not cover training seeds
  or prompts. With one cluster, or where all scores are equal, it is a point: that is a lack of
  information, not certainty.

  Args:
    scores: [N] floats. For a ratio of sums (a symbol error rate) the numerators, e.g. distances.
    weights: [N] denominators, e.g. lengths of the references; by default 1 each: a mean.
    clusters: [N] hashables; clusters are resampled instead of examples. Questions on one image, or
      captions of one video, are not independent; resampled singly they look surer than they are.
    level: fraction of the resampled means inside.
    samples: number of resamples.
    seed: of the resampling.

  Returns:
    (mean, low, high), floats on the scores' scale.

  Raises:
    ValueError: where the lists are empty, differ in length or hold a NaN, weights sum to 0 or are
      negative, or the level is not within (0, 1).
  """
  scores = np.asarray(list(scores), np.float64)
  weights = np.ones_like(scores) if weights is None else np.asarray(list(weights), np.float64)
  names = range(len(scores)) if clusters is None else list(clusters)
  if not len(scores):
    raise ValueError("No scores to resample: the set is empty.")
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
  sums = [np.bincount(place, x, len(index)) for x in (scores, weights)]  # of each cluster
  mean = float(_ratio(*sums))
  if len(index) == 1:
    return mean, mean, mean
  means = scipy.stats.bootstrap(
      sums, _ratio, paired=True, vectorized=True, n_resamples=samples, method="percentile",
      batch=max(1, DRAWN_AT_ONCE // len(index)),
      rng=np.random.default_rng(seed)).bootstrap_distribution
  # A resample of empty references alone has no ratio: NaN, which does not count.
  low, high = np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2])
  return mean, float(low), float(high)


def _ratio(tops, bottoms, axis=-1):
  with np.errstate(invalid="ignore"):
    return tops.sum(axis) / bottoms.sum(axis)
