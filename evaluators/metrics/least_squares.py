"""Linear probes in closed form, as big_vision's fewshot_lsr: ridge regression to +1 and -1.

N examples, D width, C classes.
"""
import numpy as np

BIAS = 100.  # the constant feature: so large that its weight is hardly shrunk


def shots(labels, count, seed):
  """Numbers of the examples of a few-shot training: `count` of each class, or all it has.

  The classes are in ascending order; labels: ints or strings [N]. All counts of a seed take the
  first of one permutation.
  """
  rng, labels = np.random.default_rng(seed), np.asarray(labels)
  each = [rng.permutation(np.where(labels == name)[0]) for name in np.unique(labels)]
  return np.concatenate([numbers[:count] for numbers in each])


class Probe:
  """Fitted to float [N, D] and class numbers int [N]; in float64, from one eigendecomposition for
  all strengths of the L2 regularization."""

  def __init__(self, x, classes, count):
    x = np.asarray(x, np.float64)
    self._mean, self._std = x.mean(axis=0), x.std(axis=0) + 1e-5
    x, y = self._features(x), np.where(np.arange(count) == np.asarray(classes)[:, None], 1., -1.)
    if len(x) >= x.shape[1]:  # (x'x + l2)^-1 x'y
      self._eigenvalues, self._left = np.linalg.eigh(x.T @ x)
      self._right = self._left.T @ (x.T @ y)
    else:  # x'(xx' + l2)^-1 y
      self._eigenvalues, q = np.linalg.eigh(x @ x.T)
      self._right, self._left = q.T @ y, x.T @ q

  def predict(self, x, l2):
    """Class numbers int [N] of float [N, D]."""
    weights = (self._left / (self._eigenvalues + l2)) @ self._right
    return (self._features(np.asarray(x, np.float64)) @ weights).argmax(axis=1)

  def _features(self, x):
    return np.pad((x - self._mean) / self._std, ((0, 0), (0, 1)), constant_values=BIAS)
