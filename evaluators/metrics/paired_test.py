import numpy as np
import pytest
import scipy.stats

from evaluators.metrics.paired import p_value


def test_right_or_wrong_examples_have_mcnemars_exact_test():
  differences = [1] * 9 + [-1] * 2 + [0] * 89
  p, name = p_value(differences)
  assert name == "McNemar" and p == pytest.approx(2 * scipy.stats.binom.cdf(2, 11, 0.5))
  assert p_value([-x for x in differences])[0] == pytest.approx(p)
  assert p_value([0, 0, 0]) == (1., "McNemar")


def test_scores_have_a_permutation_test():
  differences = [0.5, 0.25, 0.125, -0.0625]  # of 16 choices of signs 2 are as far, to either side
  p, name = p_value(differences)
  assert name == "permutation" and p == pytest.approx(4 / 16)
  assert p_value([0.5, -0.5, 0.])[0] == 1 and p_value([0.] * 3, [1, 1, 2]) == (1., "permutation")


def test_it_is_mcnemars_where_both_can_be_had(rng):
  differences = rng.choice([-1, 0, 1], 300, p=[.1, .7, .2])
  exact, _ = p_value(differences)
  p, name = p_value([*differences, 0.], [*range(300), 300])
  near, other = p_value(np.repeat(differences, 2), np.repeat(np.arange(300), 2))
  assert (name, other) == ("McNemar", "permutation") and p == exact
  assert near == pytest.approx(exact, abs=0.01)


def test_questions_on_one_image_count_once():
  """Ten questions on each of four images, all better: 40 examples would say p < 1e-11."""
  p, _ = p_value([1] * 40, [i // 10 for i in range(40)])
  assert p == 2 / 16


def test_it_is_small_as_often_as_it_says(rng):
  found = [p_value(rng.normal(size=20), seed=i)[0] for i in range(200)]
  assert 0.005 <= np.mean(np.array(found) < 0.05) <= 0.1


@pytest.mark.parametrize("differences", [[], [np.nan], [1, np.inf]])
def test_what_has_no_differences(differences):
  with pytest.raises(ValueError, match="finite numbers"):
    p_value(differences)
