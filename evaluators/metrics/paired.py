"""Whether two models differ on the same examples, or chance alone explains what is seen."""
import numpy as np
from etils import epy

with epy.lazy_imports():  # slow to import
  import scipy.stats

RESAMPLES = 9999
DRAWN_AT_ONCE = 2_000_000  # signs: 16 MB, however many examples there are


def p_value(differences, clusters=None, seed=0):
  """(p, name of the test): how often chance gives a difference of means that is as large, to either
  side, if neither model is better.

  Where each image has one example, right or wrong, McNemar's exact test: a fair coin for each
  example on which the two differ (McNemar 1947). Otherwise a permutation test (Fisher 1935): the
  answers of the two models to an image change places, or do not, by a fair coin.

  Args:
    differences: [N] floats, the score of the second model less that of the first.
    clusters: [N] hashables, such as the image of a question; those of one change places together.
    seed: of the permutations.

  Raises:
    ValueError: where there are no differences, or one is not finite.
  """
  differences = np.asarray(list(differences), np.float64)
  if not len(differences) or not np.isfinite(differences).all():
    raise ValueError("Differences are finite numbers, one for each example, and there is one.")
  names = list(range(len(differences)) if clusters is None else clusters)
  index = {name: i for i, name in enumerate(dict.fromkeys(names))}
  sums = np.bincount([index[name] for name in names], differences, len(index))
  if len(sums) == len(differences) and np.isin(differences, (-1, 0, 1)).all():
    better, worse = int((sums > 0).sum()), int((sums < 0).sum())
    if not better + worse:
      return 1., "McNemar"
    return float(scipy.stats.binomtest(better, better + worse).pvalue), "McNemar"
  sums = sums[sums != 0]  # they stay what they are
  if len(sums) < 2:  # both orders of the two are as far apart
    return 1., "permutation"
  found = scipy.stats.permutation_test(
      (sums, np.zeros_like(sums)), lambda a, b, axis: (a - b).sum(axis), vectorized=True,
      permutation_type="samples", n_resamples=RESAMPLES, batch=max(1, DRAWN_AT_ONCE // len(sums)),
      rng=np.random.default_rng(seed))
  return float(found.pvalue), "permutation"
