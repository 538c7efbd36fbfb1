"""Areas that polygons share: by hand, and against counting points."""
import numpy as np
import pytest

from evaluators.metrics import polygons

SQUARE = [(0, 0), (4, 0), (4, 4), (0, 4)]
BENT = [(0, 0), (6, 0), (6, 4), (4, 4), (4, 2), (2, 2), (2, 4), (0, 4)]  # an upright U, upside down
BOW = [(0, 0), (4, 4), (4, 0), (0, 4)]


@pytest.mark.parametrize("a, b, shared", [
    (SQUARE, SQUARE, 16), (SQUARE, SQUARE[::-1], 16), (SQUARE, SQUARE[2:] + SQUARE[:2], 16),
    (SQUARE, [(1, 1), (3, 1), (3, 3), (1, 3)], 4), (SQUARE, [(4, 0), (8, 0), (8, 4), (4, 4)], 0),
    (SQUARE, [(9, 9), (12, 9), (9, 12)], 0), (SQUARE, [(0, 0), (4, 4), (0, 4)], 8),
    (BENT, BENT, 20), (BENT, [(0, 2), (6, 2), (6, 4), (0, 4)], 8),
    (BENT, [(2.5, 2.5), (3.5, 2.5), (3.5, 4), (2.5, 4)], 0),  # in the gap
    (BOW, BOW, 8), (SQUARE, BOW, 8),
    (SQUARE, [(1, 1), (3, 3), (2, 2)], 0), (SQUARE, [(1, 1)] * 3, 0),  # without area
])
def test_by_hand(a, b, shared):
  assert polygons.intersection_area(a, b) == pytest.approx(shared)
  assert polygons.intersection_area(b, a) == pytest.approx(shared)


def test_of_one():
  assert polygons.area(BENT) == pytest.approx(20)
  assert polygons.area(polygons.box_polygon((.1, .2, .5, .8))) == pytest.approx(.4 * .6)


def inside(polygon, x, y):
  crossed = np.zeros(x.shape, bool)
  for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0)):
    if y0 != y1:
      crossed ^= ((y0 < y) != (y1 < y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
  return crossed


@pytest.mark.parametrize("seed", range(8))
def test_against_counting_points(seed):
  rng = np.random.default_rng(seed)
  a, b = rng.random((rng.integers(3, 8), 2)), rng.random((rng.integers(3, 8), 2))
  y, x = (np.mgrid[:1500, :1500] + .5) / 1500
  counted = (inside(a, x, y) & inside(b, x, y)).mean()
  assert polygons.intersection_area(a, b) == pytest.approx(counted, abs=1e-3)
