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


def how_many_fit(tokens_each, text_len):
  """The entries of tokens_each tokens that a text of text_len holds, 1 at least; None of None."""
  if tokens_each is None:
    return None
  if not text_len:
    raise ValueError(f"tokens_each={tokens_each} needs text_len, or the config's field text_len.")
  return max(text_len // tokens_each, 1)
