import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.metrics import json_match

VALUES = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
                      lambda x: st.lists(x, max_size=3) | st.dictionaries(
                          st.text(max_size=2), x, max_size=3), max_leaves=6)


@pytest.mark.parametrize("prediction, truth, accuracy", [
    ({"a": "cat"}, {"a": "cat"}, 1), ({"a": "cat"}, {"a": "cap"}, 1 - 1 / 9),
    ({"b": "cat"}, {"a": "cat"}, 1 - 1 / 3), ({}, {"a": "cat"}, 1 - 2 / 3),
    ({"a": "cat", "b": 1}, {"a": "cat"}, 1 - 2 / 3), ([1, 2], [1], 1 - 2 / 3),
    ({"x": 1, "a": 2}, {"a": 2, "x": 1}, 1), (list(range(9)), 3, 0)])
def test_trees(prediction, truth, accuracy):
  assert json_match.tree_accuracy(prediction, truth) == pytest.approx(accuracy)


@pytest.mark.parametrize("a, b, counts", [
    ({"a": [1, 2]}, {"a": [2, 1]}, (2, 2, 2)), ({"a": {"b": 1}}, {"a": {"c": 1}}, (0, 1, 1)),
    ({"a": 1}, {"a": True}, (0, 1, 1)), ({"a": []}, {"a": {}}, (0, 1, 1)), ([1, 1], [1], (1, 2, 1)),
    ({"a": 1.0}, {"a": 1}, (1, 1, 1))])
def test_fields(a, b, counts):
  assert json_match.field_counts(json_match.fields(a), json_match.fields(b)) == counts


@settings(deadline=None, max_examples=60)
@given(VALUES, VALUES)
def test_any_two_values(a, b):
  text = json.dumps(a)
  assert json_match.parse(text) == (a, True)
  assert json_match.same(a, a) and json_match.tree_accuracy(a, a) == 1
  assert 0 <= json_match.tree_accuracy(a, b) <= 1
  both, ours, theirs = json_match.field_counts(json_match.fields(a), json_match.fields(b))
  assert 0 <= both <= min(ours, theirs)
  assert json_match.same(a, b) == json_match.same(b, a)


@pytest.mark.parametrize("text", ["", "{", "NaN", "[" * 10**5, "{'a': 1}", "1 2"])
def test_what_is_not_json(text):
  assert json_match.parse(text) == (None, False)
