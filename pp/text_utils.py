"""One string out of what a data set may hold for it."""

import numpy as np


def to_text(value):
  """str, UTF-8 bytes, or an array of one of these without dimensions -> str; else ValueError."""
  if isinstance(value, np.ndarray) and value.ndim == 0:
    value = value.item()
  if isinstance(value, bytes):
    return value.decode("utf-8")
  if isinstance(value, str):
    return str(value)
  raise ValueError(f"expected one string, got {type(value).__name__} {str(value)[:60]!r}; "
                   "pick or join several with choice, getidx or strjoin.")
