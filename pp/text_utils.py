"""Strings of the types that data sets use for them."""

import numpy as np


def to_text(value):
  """Returns the str of a str, of UTF-8 bytes, or of a 0-d array of one; ValueError for others."""
  if isinstance(value, np.ndarray) and value.ndim == 0:
    value = value.item()
  if isinstance(value, bytes):
    return value.decode("utf-8")
  if isinstance(value, str):
    return str(value)
  raise ValueError(f"expected one string, got {type(value).__name__} {str(value)[:60]!r}; "
                   "pick or join several with choice, getidx or strjoin.")
