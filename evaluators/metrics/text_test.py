"""Exact match: a table of pairs, and the refusal of what is not text."""
import pytest

from evaluators.metrics import text


@pytest.mark.parametrize("prediction, target, score", [
    ("cat", "cat", 1.0),
    ("", "", 1.0),
    ("cat", "dog", 0.0),
    ("", "cat", 0.0),
    ("Cat", "cat", 0.0),                # case counts
    ("cat ", "cat", 0.0),               # so does a space
    ("cat", "a cat on a mat", 0.0),     # no substring matches
    ("caf\u00e9", "cafe\u0301", 0.0),   # composed against decomposed
])
def test_exact_match(prediction, target, score):
  got = text.exact_match(prediction, target)
  assert got == score and isinstance(got, float)


@pytest.mark.parametrize("prediction, target, named", [
    (2, "2", "prediction is 2"), ("2", ["2"], "target is"), (b"cat", "cat", "bytes"),
])
def test_only_strings_are_compared(prediction, target, named):
  with pytest.raises(TypeError, match=named):
    text.exact_match(prediction, target)
