"""NaFlex (SigLIP 2, section 2.4.2): an image in its own shape, as so many patches at most."""
import math

import numpy as np

SMALLEST, LARGEST, CLOSE = 1e-6, 100., 1e-5  # of the scale, and the bracket's width at the end


def grid(height, width, patch, max_patches):
  """(rows, columns) of an image's patches: the largest scale at which at most max_patches fit, each
  side rounded up to whole patches.

  The scale is found by bisection, as in big_vision (resize_to_sequence) and transformers: it ends
  just below the largest one, and enlarges small images, up to 100 times.
  """
  def at(scale):
    return tuple(max(1, math.ceil(side * scale / patch)) for side in (height, width))

  low, high = SMALLEST, LARGEST
  while high - low >= CLOSE:
    middle = (low + high) / 2
    low, high = (middle, high) if math.prod(at(middle)) <= max_patches else (low, middle)
  return at(low)


def patches(image, patch):
  """[rows * patch, columns * patch, C] -> [rows * columns, patch * patch * C], row by row."""
  rows, columns = (side // patch for side in image.shape[:2])
  split = image.reshape(rows, patch, columns, patch, -1)
  return np.ascontiguousarray(split.transpose(0, 2, 1, 3, 4)).reshape(rows * columns, -1)
