import logging
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pp.builder import PreprocessError, get_preprocess_fn, split_pipeline
from pp.registry import OPS


def test_a_pipeline_runs_from_left_to_right():
  preprocess = get_preprocess_fn("strfmt('caption {lang}', outkey='prefix')|keep('prefix')")
  assert preprocess({"lang": "en", "_id": 7}) == {"prefix": "caption en", "_id": 7}


@pytest.mark.parametrize("pp", [None, "", "  ", "||", "\n | "])
def test_nothing_is_the_identity(pp):
  example = {"a": 1}
  result = get_preprocess_fn(pp)(example)
  assert result == example and result is not example


@pytest.mark.parametrize("pp, want", [
    (" decode | resize(224) |", ["decode", "resize(224)"]),
    ("a('x|y')|b(\"'|\")", ["a('x|y')", "b(\"'|\")"]),
    (r"a('it\'s|') | b", [r"a('it\'s|')", "b"]),
    (r"a('\\')|b", [r"a('\\')", "b"]),
    ("a([1, (2|3)])|b({'|': 1})", ["a([1, (2|3)])", "b({'|': 1})"]),
    ("a('(')|b('[{')", ["a('(')", "b('[{')"]),
    ("a(\n  1,\n)|\n b", ["a(\n  1,\n)", "b"]),
])
def test_sections_are_split_outside_quotes_and_brackets(pp, want):
  assert split_pipeline(pp) == want


@given(st.lists(st.text(), min_size=1))
def test_any_literal_survives_the_split(strings):
  calls = [f"strfmt({s!r})" for s in strings]
  assert split_pipeline("|".join(calls)) == calls


@pytest.mark.parametrize("pp, complaint", [
    ("a(1|b", "Unclosed '('"),
    ("a('x)|b", 'Unclosed "\'"'),
    ("a(1))|b", "Unmatched ')'"),
    ("a([1)]", "Unmatched ')'"),
    ("resise(224)", "Unknown pp op 'resise'. Did you mean 'resize'?"),
    ("resize(224, antialis=True)", "Did you mean 'antialias'? It takes resize(size"),
    ("resize(x)", "`x` is not a literal"),
])
def test_errors_when_building(pp, complaint):
  with pytest.raises(ValueError) as e:
    get_preprocess_fn(pp)
  assert complaint in str(e.value)


@pytest.fixture
def op(monkeypatch):
  """Registers a function example -> example as the op "probe", for one test."""
  return lambda fn: monkeypatch.setitem(OPS, "probe", lambda: fn)


def test_the_callers_example_is_untouched_even_by_an_op_that_writes(op):
  op(lambda example: example.update(a=2) or example)
  example = {"a": 1}
  assert get_preprocess_fn("probe|drop('a')")(example) == {} and example == {"a": 1}


@pytest.mark.parametrize("example, complaint", [
    ({"_id": 12, "imge": 1}, ("failed on example 12: the example has no key 'image'. "
                              "Did you mean 'imge'? Its keys: _id, imge.")),
    ({"id": "v1"}, "failed on example v1: the example has no key 'image'. Its keys: id."),
    ({"image": np.zeros(3)}, "pp op `reshape([])` failed: cannot reshape"),
])
def test_a_failing_op_names_itself_the_example_and_the_reason(example, complaint):
  with pytest.raises(PreprocessError) as e:
    get_preprocess_fn("drop('b') | reshape([])")(example)
  assert complaint in str(e.value)
  assert e.value.__cause__ is not None
  assert str(pickle.loads(pickle.dumps(e.value))) == str(e.value)  # workers send it home


def test_a_nested_key_points_at_flatten():
  with pytest.raises(PreprocessError, match="Put `flatten` before it"):
    get_preprocess_fn("majority(key='answers/text')")({"answers": {"text": ["a"]}})


def test_an_op_must_return_the_dict(op):
  op(lambda example: None)
  with pytest.raises(PreprocessError, match="`probe` failed: TypeError: it returned NoneType"):
    get_preprocess_fn("probe")({})


def test_log_data_once(caplog):
  caplog.set_level(logging.INFO)
  preprocess = get_preprocess_fn("value_range|drop('b')", log_data="train")
  for _ in range(2):
    preprocess({"image": np.zeros((2, 2, 3), np.uint8), "b": "x"})
  assert [r.getMessage() for r in caplog.records] == [
      "pp train: image uint8[2, 2, 3], b str -> image float32[2, 2, 3]"]
