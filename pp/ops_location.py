"""The op `detect`: boxes and labels -> the prompt and the answer of a detection task."""

import numpy as np

from pp.locations import format_objects
from pp.ops_text import to_text
from pp.registry import OPS, rng_of

ORDERS = ("given", "raster", "random")


@OPS.register("detect")
def detect(boxes="objects/bbox", labels="objects/label", prefix="prefix", suffix="suffix",
           order="given", subset=False):
  """Writes prefix "detect cat ; dog" and suffix "<loc....>x4 cat ; <loc....>x4 dog ; ...".

  The prompt names each label once, in the order of first appearance in the example. Without any
  object it is "detect" and the answer is empty.

  Args:
    boxes, labels: keys of [N,4] (ymin, xmin, ymax, xmax in 0..1) and of N str, bytes or ints.
    prefix, suffix: keys to write.
    order: of the objects in the answer: "given", "raster" (from the top, then from the left, by
      their first corner), or "random" (anew at each visit).
    subset: ask at random for some of the labels only, for one at least.
  """
  if order not in ORDERS:
    raise ValueError(f"detect: order={order!r} is not one of {', '.join(ORDERS)}.")

  def op(example):
    corners = np.asarray(example[boxes], np.float64).reshape(-1, 4)
    names = [_label(n) for n in example[labels]]
    if len(corners) != len(names):
      raise ValueError(f"{boxes!r} has {len(corners)} boxes, {labels!r} {len(names)} labels.")
    asked = list(dict.fromkeys(names))
    if subset and asked:
      rng = rng_of(example, "detect(subset=True)")
      count = int(rng.integers(1, len(asked) + 1))
      asked = [asked[i] for i in np.sort(rng.permutation(len(asked))[:count])]
    indices = [i for i in _ordered(example, corners) if names[i] in asked]
    answer = format_objects(corners[indices], [names[i] for i in indices])
    return {**example, prefix: f"detect {' ; '.join(asked)}".strip(), suffix: answer}

  def _ordered(example, corners):
    if order == "raster":
      return np.lexsort((corners[:, 1], corners[:, 0]))
    if order == "random":
      return rng_of(example, "detect(order='random')").permutation(len(corners))
    return range(len(corners))

  return op


def _label(value):
  if isinstance(value, (int, np.integer)):
    return str(int(value))
  return to_text(value)
