"""Masks of boxes on the whole image, against the bilinear filter written out."""
import numpy as np
import pytest

from pp import mask_codes


def bilinear(mask, height, width):
  """Pillow's bilinear resize: a triangle one source pixel wide, or one target pixel if larger."""
  def weights(size):
    scale = len(mask) / size
    distance = np.arange(len(mask))[None] + 0.5 - (np.arange(size)[:, None] + 0.5) * scale
    w = np.maximum(0, 1 - np.abs(distance) / max(scale, 1))
    return w / w.sum(axis=1, keepdims=True)
  return weights(height) @ mask @ weights(width).T


@pytest.mark.parametrize("box, pixels", [
    ((10.9, 20.2, 90.9, 200.7), (10, 20, 90, 200)),  # cut off, not rounded
    ((0, 0, 100, 240), (0, 0, 100, 240)),
    ((3, 5, 23, 16), (3, 5, 23, 16)),  # smaller than 64x64
    ((99.5, 0.5, 100, 1.5), (99, 0, 100, 1)),  # one pixel
])
def test_paste(rng, box, pixels):
  mask = rng.normal(size=(64, 64)).astype(np.float32)
  y0, x0, y1, x1 = pixels
  resized = bilinear(mask.astype(np.float64), y1 - y0, x1 - x0)
  whole = mask_codes.paste(mask, np.array(box) / (100, 240, 100, 240), (100, 240))
  assert whole.shape == (100, 240) and whole.dtype == bool
  sure = np.abs(resized) > 1e-5
  np.testing.assert_array_equal(whole[y0:y1, x0:x1][sure], (resized > 0)[sure])
  assert sure.mean() > 0.99 and whole.sum() == whole[y0:y1, x0:x1].sum()


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5.1, 5, 5.9, 9), (9, 9, 3, 3), (2, 8, 7, 3)])
def test_paste_into_an_empty_box(box):
  assert not mask_codes.paste(np.ones((64, 64)), np.array(box) / 10, (10, 10)).any()


def test_zero_is_background():
  assert not mask_codes.paste(np.zeros((64, 64)), (0, 0, 1, 1), (10, 10)).any()
