import pathlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pp import naflex

GRIDS = pathlib.Path(__file__).parents[1] / "tests" / "golden" / "naflex_grids.npz"


def test_grids_are_those_of_transformers():
  golden = np.load(GRIDS)
  assert len(golden["sizes"]) == 60
  assert [naflex.grid(*row) for row in golden["sizes"].tolist()] == [
      tuple(row) for row in golden["grids"].tolist()]


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([14, 16, 32]),
       st.integers(1, 1024))
def test_a_grid_fits_and_keeps_the_order_of_the_sides(height, width, patch, most):
  rows, columns = naflex.grid(height, width, patch, most)
  assert 1 <= rows * columns <= most
  assert (rows, columns) == naflex.grid(width, height, patch, most)[::-1]
  assert rows <= columns if height <= width else rows >= columns


def test_patches_are_row_by_row():
  image = np.arange(4 * 6 * 3).reshape(4, 6, 3)
  rows = naflex.patches(image, 2)
  assert rows.shape == (6, 12)
  np.testing.assert_array_equal(rows[4], image[2:, 2:4].reshape(-1))  # second row, second column
