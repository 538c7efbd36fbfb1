"""Equality of texts: the metric of GQA, AI2D and of every task with one right answer."""


def exact_match(prediction, target):
  """1.0 if the two strings are equal, else 0.0.

  The strings are compared as they are: no lower-casing, no stripping, no Unicode
  normalisation. A task that ignores case (OCR-VQA, RSVQA) lower-cases both sides before.

  Args:
    prediction: str, the decoded answer.
    target: str, the reference.

  Raises:
    TypeError: where either is not a string: 2 == "2" is False for a reason nobody sees.
  """
  for name, value in (("prediction", prediction), ("target", target)):
    if not isinstance(value, str):
      raise TypeError(f"exact_match compares strings, but {name} is {value!r} "
                      f"({type(value).__name__}). Decode or str() it first.")
  return float(prediction == target)
