"""Means by group, groups all right, and what stops them."""
import math

import pytest

from evaluators.metrics import groups


def test_mean():
  assert groups.mean([1, 0, 0.5, 0.5]) == 0.5
  assert groups.mean([0.1] * 10) == 0.1  # exact sums: any order and any split give the same


def test_by_group():
  got = groups.by_group([1, 0, 1, 0.3], ["number", "other", "number", "other"])
  assert got == {"number": (1, 2), "other": (0.15, 2)}
  assert groups.by_group([1, 0, 0], [1, None, None]) == {1: (1, 1)}


def test_all_right():
  assert groups.all_correct([1, 1, 1, 0, 0, 0], "aabbcc") == pytest.approx(1 / 3)
  assert groups.all_correct([1, 0.9], "aa") == 0  # nearly right is not right


@pytest.mark.parametrize("call", [groups.by_group, groups.all_correct])
def test_bad_input(call):
  with pytest.raises(ValueError, match="2 scores but 1 groups"):
    call([1, 0], ["a"])
  with pytest.raises(ValueError, match="empty"):
    call([], [])
  with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
    call([1, math.nan], ["a", "a"])


def test_an_empty_mean_is_an_error():
  with pytest.raises(ValueError, match="empty"):
    groups.mean([])
