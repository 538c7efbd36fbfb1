"""Edit distance: hand-counted pairs, the textbook's recurrence, and that long texts are quick."""
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from evaluators.metrics.edit import edit_distance


@pytest.mark.parametrize("a, b, distance", [
    ("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2),
    (["one", "two"], ["one", "three", "two"], 1), ("\u00e9", "e\u0301", 2), ("a" * 70, "a" * 64, 6),
    ((1, 2, 3), [1, 2, 3], 0),
])
def test_counted_by_hand(a, b, distance):
  assert edit_distance(a, b) == edit_distance(b, a) == distance


def by_the_book(a, b):
  row = list(range(len(b) + 1))
  for i, x in enumerate(a, 1):
    diagonal, row[0] = row[0], i
    for j, y in enumerate(b, 1):
      diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
  return row[-1]


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(st.text("abc", max_size=90), st.text("abc", max_size=90))
def test_equals_the_textbook(a, b):
  assert edit_distance(a, b) == by_the_book(a, b)


def test_five_thousand_symbols_take_no_time():
  start = time.process_time()
  assert edit_distance("abcde" * 1000, "abxde" * 1000) == 1000
  assert time.process_time() - start < 1
