"""Areas of polygons and of what two polygons share, for any shape: bent, dented, self-crossing."""
import itertools

import numpy as np


def intersection_area(a, b):
  """Area that two polygons share; a point is inside where a ray from it crosses an odd count.

  The plane is cut into bands at every corner and crossing: within a band no two edges cross, so
  what is shared has the width at the band's middle times its height, exactly.

  Args:
    a, b: float [N, 2], [M, 2], corners (x, y) in order, N and M at least 3.

  Returns:
    float >= 0 in the square of the corners' unit.

  Raises:
    ValueError: for fewer than three corners, or numbers that are not finite.
  """
  a, b = corners(a), corners(b)
  if (a.max(0) <= b.min(0)).any() or (b.max(0) <= a.min(0)).any():
    return 0.
  edges_a, edges_b = _edges(a), _edges(b)
  heights = np.concatenate([a[:, 1], b[:, 1], _crossings(np.concatenate([edges_a, edges_b]))])
  low, high = max(a[:, 1].min(), b[:, 1].min()), min(a[:, 1].max(), b[:, 1].max())
  heights = np.unique(heights[(low <= heights) & (heights <= high)])
  area = 0.
  for bottom, top in itertools.pairwise(heights):
    y = (bottom + top) / 2
    area += (top - bottom) * _shared_width(_spans(edges_a, y), _spans(edges_b, y))
  return float(area)


def area(polygon):
  """Area of a polygon float [N, 2], with the parts that it goes around twice left out."""
  return intersection_area(polygon, polygon)


def corners(polygon, what="A polygon"):
  """float [N, 2]. Raises ValueError unless that is three or more finite (x, y)."""
  try:
    found = np.asarray(polygon, float)
  except (TypeError, ValueError):
    found = np.zeros(0)
  if found.ndim != 2 or found.shape[1] != 2 or len(found) < 3 or not np.isfinite(found).all():
    raise ValueError(f"{what} is a list of three or more finite (x, y), not {polygon!r:.100}.")
  return found


def box_polygon(box):
  """(ymin, xmin, ymax, xmax) -> its corners (x, y), float [4, 2]."""
  ymin, xmin, ymax, xmax = box
  return np.array([(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax)], float)


def _edges(corners):
  """[N, 2] -> [N, 4]: x0, y0, x1, y1."""
  return np.concatenate([corners, np.roll(corners, -1, axis=0)], axis=1)


def _crossings(edges):
  """Heights y at which two of the edges [N, 4] cross."""
  start, way = edges[:, :2], edges[:, 2:] - edges[:, :2]
  cross = lambda p, q: p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]
  between = start[None] - start[:, None]  # [N, N, 2], from an edge's start to another's
  turn = cross(way[:, None], way[None])
  with np.errstate(divide="ignore", invalid="ignore"):  # parallel edges have no crossing
    along = cross(between, way[None]) / turn
    along_other = cross(between, way[:, None]) / turn
  on_both = (0 < along) & (along < 1) & (0 < along_other) & (along_other < 1)
  first = np.nonzero(on_both)[0]
  return start[first, 1] + along[on_both] * way[first, 1]


def _spans(edges, y):
  """[(left, right)] that lie inside at a height y, where no corner is."""
  x0, y0, x1, y1 = edges[(edges[:, 1] < y) != (edges[:, 3] < y)].T
  xs = np.sort(x0 + (y - y0) * (x1 - x0) / (y1 - y0))
  return list(zip(xs[::2], xs[1::2], strict=True))


def _shared_width(spans, others):
  return sum(max(min(end, other_end) - max(start, other_start), 0.)
             for (start, end), (other_start, other_end) in itertools.product(spans, others))
