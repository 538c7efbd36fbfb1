"""COCO's average precision of any choice of the images, to see how far it depends on them.

pycocotools matches detections and annotations image by image, once; what an image counts then is a
weight. With every weight 1 the result is that of metrics.detection.coco_map.

T IoU thresholds, D detections of a category, N images.
"""
import numpy as np

RESAMPLES = 1000
NAMES = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}  # of the thresholds


class Matches:
  """Of each category (score [D], image [D], true [T, D], false [T, D], annotations [N]), the most
  confident first."""

  def __init__(self, categories, levels):
    self._categories, self._levels = categories, levels

  @classmethod
  def of(cls, evaluation):
    """evaluation: a pycocotools COCOeval after evaluate()."""
    settings, per_image = evaluation.params, evaluation.evalImgs
    count, areas, made = len(settings.imgIds), len(settings.areaRng), []
    for k in range(len(settings.catIds)):
      first = k * areas * count  # the first area is all sizes
      found = [(i, e) for i, e in enumerate(per_image[first:first + count]) if e is not None]
      truth = np.zeros(count)
      for i, e in found:
        truth[i] = np.count_nonzero(e["gtIgnore"] == 0)
      image = np.repeat([i for i, _ in found], [len(e["dtScores"]) for _, e in found]).astype(int)
      scores = np.concatenate([[], *(e["dtScores"] for _, e in found)])
      empty = np.zeros((len(settings.iouThrs), 0), bool)
      matched = np.concatenate([empty, *(e["dtMatches"] != 0 for _, e in found)], 1)
      counted = np.concatenate([empty, *(e["dtIgnore"] == 0 for _, e in found)], 1)
      made.append((scores, image, matched & counted, ~matched & counted, truth))
    return cls([_sorted(*row) for row in made], settings.recThrs)

  def beside(self, other):
    """The Matches of these images and of those of another one after them, 2 N images."""
    moved = [(scores, image + len(rest[-1]), *rest)
             for scores, image, *rest in other._categories]
    return Matches([_sorted(*(np.concatenate(pair, -1) for pair in zip(mine, theirs)))
                    for mine, theirs in zip(self._categories, moved)], self._levels)

  def values(self, weights=None):
    """{"AP", "AP50", "AP75"} of images with such weights, by default 1."""
    weights = np.ones(len(self._categories[0][-1])) if weights is None else weights
    found = self.average_precision(weights)
    return {name: float(found[part].mean()) for name, part in NAMES.items()}

  def average_precision(self, weights):
    """float [T]: mean over the categories of which a counted image has an annotation; NaN if none.

    weights: [N], how often each image counts.
    """
    found = []
    for _, image, true, false, truth in self._categories:
      if total := (truth * weights).sum():
        counts = weights[image]
        found.append(_interpolated(np.cumsum(true * counts, 1), np.cumsum(false * counts, 1), total,
                                   self._levels))
    return np.mean(found, 0) if found else np.full(len(self._categories[0][2]), np.nan)


def _sorted(scores, image, true, false, truth):
  order = np.argsort(-scores, kind="mergesort")  # as pycocotools sorts them
  return scores[order], image[order], true[:, order], false[:, order], truth


def _interpolated(true, false, total, levels):
  """[T]: the mean precision over the recalls `levels`, each the best from that recall on."""
  recall = true / total
  precision = true / np.maximum(true + false, np.spacing(1))
  precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
  precision = np.pad(precision, ((0, 0), (0, 1)))  # 0 beyond the last recall
  return np.array([p[np.searchsorted(r, levels)].mean() for p, r in zip(precision, recall)])


def interval(matches, clusters, level=0.95, seed=0):
  """{"AP", "AP50", "AP75": (low, high)}: the percentile bootstrap over clusters of images.

  clusters: [N] hashables, such as the number of the image.
  """
  draw, _ = _draws(clusters, seed)
  drawn = [matches.values(draw()) for _ in range(RESAMPLES)]
  return {name: _middle([row[name] for row in drawn], level) for name in NAMES}


def paired(before, after, clusters, level=0.95, seed=0):
  """{"AP", "AP50", "AP75": (difference, low, high, p)} of two models, Matches of the same images.

  The interval is as of interval(). p is of the permutation test in which the detections of the two
  models in a cluster change places by a fair coin, see paired.py.
  """
  both, (draw, flip) = before.beside(after), _draws(clusters, seed)
  gain = lambda first, second: {name: second[name] - first[name] for name in NAMES}
  seen, drawn, swapped = gain(before.values(), after.values()), [], []
  for _ in range(RESAMPLES):
    weights, keep = draw(), flip()
    drawn.append(gain(before.values(weights), after.values(weights)))
    swapped.append(gain(*(both.values(np.concatenate(w)) for w in (
        (keep, 1 - keep), (1 - keep, keep)))))
  extreme = {name: sum(abs(row[name]) >= abs(seen[name]) - 1e-12 for row in swapped)
             for name in NAMES}
  return {name: (seen[name], *_middle([row[name] for row in drawn], level),
                 (extreme[name] + 1) / (RESAMPLES + 1)) for name in NAMES}


def _draws(clusters, seed):
  """Functions that draw float weights [N]: how often each image is in a resample, and a coin."""
  index = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
  place, count = np.array([index[name] for name in clusters]), len(index)
  rng = np.random.default_rng(seed)
  draw = lambda: np.bincount(rng.integers(count, size=count), minlength=count)[place].astype(float)
  return draw, lambda: (rng.random(count) < 0.5)[place].astype(float)


def _middle(values, level):
  return tuple(map(float, np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])))
