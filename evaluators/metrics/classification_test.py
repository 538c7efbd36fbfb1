import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import calibration, metrics, preprocessing

from evaluators.metrics import classification

CLASSES = st.sampled_from(["cat", "dog", "", "7"])
PAIRS = st.lists(st.tuples(CLASSES, CLASSES), min_size=1, max_size=30)
LISTS = st.lists(st.tuples(st.lists(CLASSES, max_size=3), st.lists(CLASSES, max_size=3)),
                 min_size=1, max_size=20)


@settings(max_examples=40, deadline=None)
@given(PAIRS)
@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label was found")
def test_classes_are_counted_as_scikit_learn_counts_them(pairs):
  targets, predictions = zip(*pairs)
  names, counts = classification.confusion_matrix(targets, predictions)
  np.testing.assert_array_equal(counts, metrics.confusion_matrix(targets, predictions))
  assert names == sorted({*targets, *predictions})
  assert classification.balanced_accuracy(targets, predictions) == pytest.approx(
      metrics.balanced_accuracy_score(targets, predictions))


@settings(max_examples=40, deadline=None)
@given(LISTS)
def test_f1_of_lists_is_that_of_scikit_learn(pairs):
  targets, predictions = map(list, zip(*pairs))
  got = classification.f1(targets, predictions)
  # With one more that no example has: scikit-learn takes a single column for two classes.
  binarize = preprocessing.MultiLabelBinarizer().fit([*targets, *predictions, ["zebra"]])
  if not (count := len(binarize.classes_) - 1):
    assert got == {"micro": None, "macro": None}
    return
  for average, value in got.items():
    assert value == pytest.approx(metrics.f1_score(
        binarize.transform(targets), binarize.transform(predictions), average=average,
        zero_division=0, labels=range(count)))


def test_f1_of_a_text_is_a_mistake():
  with pytest.raises(TypeError, match="takes lists of labels, not the text 'cat'"):
    classification.f1([["cat"]], ["cat"])


@pytest.mark.parametrize("text, value", [
    ("3", 3.), (" -3.50\n", -3.5), ("1,234,567.5", 1234567.5), (".5", 0.5), ("+1e3", 1000.),
    ("1e400", None), ("", None), ("-", None), (".", None), ("e3", None), ("12,34", None),
    ("three", None), ("3 cm", None), ("nan", None), ("inf", None), ("3 4", None), ("５", 5.)])
def test_numbers(text, value):
  assert classification.number(text) == value


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=20))
def test_errors_of_numbers_are_those_of_scikit_learn(pairs):
  targets, predictions = zip(*pairs)
  assert classification.mean_absolute_error(targets, predictions) == pytest.approx(
      metrics.mean_absolute_error(targets, predictions))
  assert classification.root_mean_squared_error(targets, predictions) == pytest.approx(
      metrics.root_mean_squared_error(targets, predictions))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(np.linspace(0, 1, 21).tolist())),
                min_size=1, max_size=40))
def test_the_calibration_curve_is_that_of_scikit_learn(pairs):
  correct, probabilities = zip(*pairs)
  curve = classification.calibration_curve(correct, probabilities)
  right, sure = calibration.calibration_curve([*correct, False, True], [*probabilities, 0, 1],
                                              n_bins=10)
  ours = classification.calibration_curve([*correct, False, True], [*probabilities, 0, 1])
  np.testing.assert_allclose([row[:2] for row in ours], np.stack([sure, right], 1))
  assert sum(count for *_, count in curve) == len(pairs)


def test_the_calibration_error_weighs_bins_by_their_examples():
  assert classification.calibration_error([1, 0, 1, 1], [.95, .95, .15, .15]) == pytest.approx(
      (2 * .45 + 2 * .85) / 4)
  with pytest.raises(ValueError, match="Probabilities are in 0..1"):
    classification.calibration_error([1], [1.5])


def test_nothing_to_count_is_none():
  assert classification.balanced_accuracy([], []) is None
  assert classification.f1([[]], [[]]) == {"micro": None, "macro": None}
  assert classification.mean_absolute_error([], []) is None
  assert classification.root_mean_squared_error([], []) is None
  assert classification.calibration_error([], []) is None
  with pytest.raises(ValueError, match="1 examples on one side and 2 on the other"):
    classification.balanced_accuracy(["a"], ["a", "b"])
