"""Bootstrap intervals: their width, clusters, ratios, speed, and bad input."""
import math
import time

import numpy as np
import pytest

from evaluators.metrics.bootstrap import interval


def test_it_is_as_wide_as_the_normal_interval_of_many_scores(rng):
  scores = rng.random(2000) < 0.8
  figure, low, high = interval(scores)
  assert figure == scores.mean()
  half = 1.96 * scores.std() / math.sqrt(2000)
  assert [low, high] == pytest.approx([figure - half, figure + half], abs=0.1 * half)


def test_it_holds_the_truth_about_as_often_as_it_says(rng):
  hits = 0
  for _ in range(200):
    _, low, high = interval(rng.random(100) < 0.7, samples=200)
    hits += low <= 0.7 <= high
  assert 0.88 <= hits / 200 <= 0.99


def test_questions_on_one_image_know_less(rng):
  images = np.repeat(rng.random(100) < 0.5, 10)  # ten questions each, all right or all wrong
  alone = interval(images)
  together = interval(images, clusters=np.repeat(np.arange(100), 10))
  assert together[0] == alone[0]
  assert together[2] - together[1] > 2.5 * (alone[2] - alone[1])  # sqrt(10), but for chance


def test_a_ratio_of_sums():
  figure, low, high = interval([1, 0, 3], weights=[10, 2, 8])
  assert figure == 4 / 20 and 0 <= low <= figure <= high <= 3 / 8
  assert interval([0, 0, 3], weights=[0, 0, 8])[0] == 3 / 8


def test_the_same_again_and_another_seed(rng):
  scores = rng.random(50)
  assert interval(scores) == interval(list(scores)) != interval(scores, seed=1)
  narrow = interval(scores, level=0.5)
  assert interval(scores)[1] < narrow[1] < narrow[0] < narrow[2]


def test_one_example_is_a_point():
  assert interval([0.3]) == (0.3, 0.3, 0.3)


def test_ten_thousand_examples_are_quick(rng):
  start = time.process_time()
  interval(rng.random(10_000))
  assert time.process_time() - start < 3


@pytest.mark.parametrize("scores, kw, match", [
    ([], {}, "empty"),
    ([1, math.nan], {}, "NaN"),
    ([1, math.inf], {}, "infinite"),
    ([1, 0], {"weights": [1]}, "2 scores, 1 weights"),
    ([1, 0], {"clusters": "abc"}, "3 clusters"),
    ([1, 0], {"weights": [0, 0]}, "all 0"),
    ([1, 0], {"weights": [2, -1]}, "negative"),
    ([1, 0], {"level": 95}, "level is 95"),
])
def test_bad_input(scores, kw, match):
  with pytest.raises(ValueError, match=match):
    interval(scores, **kw)
