import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from big_vlm.decode import automaton, json_schema

PERSON = {"type": "object", "title": "Person", "properties": {
    "name": {"type": "string", "maxLength": 9}, "age": {"type": "integer"},
    "tags": {"type": "array", "items": {"enum": ["a", "b\n", 3, None]}, "maxItems": 2},
    "home": {"$ref": "#/$defs/place"}, "code": {"type": "string", "pattern": "^[A-Z]{2}[0-9]+$"},
    "size": {"anyOf": [{"type": "number"}, {"const": "unknown"}]}},
    "required": ["name", "size"], "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"city": {"type": ["string", "null"]}},
                        "required": ["city"]}}}


def matches(schema, value):
  text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
  return automaton.build(json_schema.language(schema)).matches(text.encode())


@pytest.mark.parametrize("value, fits", [
    ({"name": "Ana", "size": 1.5}, True), ({"name": "", "size": "unknown"}, True),
    ({"name": "é\"\\\n", "age": -3, "tags": ["b\n", None], "home": {"city": None}, "code": "AB12",
      "size": -2e-7}, True),
    ({"name": "Ana"}, False), ({"size": 1, "name": "Ana"}, False), ({"name": 3, "size": 1}, False),
    ({"name": "abcdefghij", "size": 1}, False), ({"name": "a", "age": 1.5, "size": 1}, False),
    ({"name": "a", "tags": ["c"], "size": 1}, False),
    ({"name": "a", "tags": [3, 3, 3], "size": 1}, False),
    ({"name": "a", "home": {}, "size": 1}, False), ({"name": "a", "code": "A1", "size": 1}, False),
    ({"name": "a", "size": 1, "more": 1}, False), ([], False)])
def test_a_schema(value, fits):
  assert matches(PERSON, value) == fits


LEAF = st.none() | st.booleans() | st.integers(-10**14, 10**14) | st.text(max_size=5)
VALUES = st.recursive(LEAF, lambda x: st.lists(x, max_size=3)
                      | st.dictionaries(st.text(max_size=3), x, max_size=3), max_leaves=8)


def depth(value):
  inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
  return isinstance(value, (dict, list)) + max(map(depth, inner), default=0)


@settings(deadline=None, max_examples=60)
@given(VALUES)
def test_any_value(value):
  assert _ANY.matches(json.dumps(value, separators=(",", ":")).encode()) == (depth(value) <= 3)


_ANY = automaton.build(json_schema.language(True))


@pytest.mark.parametrize("schema, value, fits", [
    ({"type": "object"}, {"a": {"b": [1]}}, True), ({"type": "object"}, [1], False),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1, "b": 2}, True),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": "1"}, False),
    ({"type": "object", "properties": {}, "additionalProperties": False}, {}, True),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True], False),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True] * 4, True),
    ({"type": "array", "maxItems": 0}, [], True), ({"type": "array", "minItems": 1}, [], False),
    ({"type": "string", "minLength": 2, "maxLength": 3}, "é\n", True),
    ({"type": "string", "minLength": 2, "maxLength": 3}, "abcd", False),
    ({"enum": [1, "a", [2]]}, [2], True), ({"const": {"a": 1}}, {"a": 1}, True),
    ({"type": "integer", "enum": [3, "3", 4.5]}, 3, True),
    ({"type": "integer", "enum": [3, "3", 4.5]}, "3", False),
    ({"type": ["string", "null"], "enum": [None, "a", 1]}, None, True)])
def test_types(schema, value, fits):
  assert matches(schema, value) == fits


@pytest.mark.parametrize("text, fits", [
    (r'"\ud83e\udd92"', True), (r'"\u00e9"', True), ('"🦒"', True),
    (r'"\uD83E\uDD92\u0041"', False),
    (r'"\ud83e"', False), (r'"\udd92"', False), (r'"\ud83e\u0041"', False), (r'""', False)])
def test_a_surrogate_pair_is_one_character(text, fits):
  schema = {"type": "string", "minLength": 1, "maxLength": 1}
  assert automaton.build(json_schema.language(schema)).matches(text.encode()) == fits


def test_schemas_that_grow_without_end_are_refused():
  doubled = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(60)}
  with pytest.raises(ValueError, match="too large"):
    json_schema.language({"$ref": "#/$defs/d0", "$defs": {**doubled, "d60": {"type": "null"}}})
  deep = {"type": "null"}
  for _ in range(5000):
    deep = {"type": "array", "items": deep}
  with pytest.raises(ValueError, match="too deep"):
    json_schema.language(deep)


@pytest.mark.parametrize("schema, names", [
    ({"type": "integer", "minimum": 3}, "schema has 'minimum'"),
    ({"type": "sting"}, "Did you mean 'string'"), ({"type": []}, "type"),
    ({"type": "string", "const": 5}, "no value of const 5 is of the type 'string'"),
    ({"type": "strnig", "enum": ["a"]}, "Did you mean 'string'"),
    ({"type": "object", "anyOf": [{"type": "null"}]}, "leave the type out"),
    ({"type": "object", "required": [[]]}, "list of names"),
    ({"title": "x"}, "no 'type'"), ({"type": "string", "items": {}}, "another type's"),
    ({"oneOf": [{"type": "null"}]}, "'oneOf'"), ({"enum": []}, "list of one or more"),
    ({"$ref": "#/$defs/a"}, "no '#/\\$defs/a'"),
    ({"type": "object", "required": ["a"]}, "'a'"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}},
     "holds itself"),
    ({"type": "array", "minItems": 3, "maxItems": 2}, "minItems is 3"),
    ({"type": "number", "enum": [1e400]}, "JSON"),
    ({"type": "string", "maxLength": True}, "whole number"), (3, "an object"),
    ({"type": "string", "pattern": "a.b"}, "quotes"),
    ({"type": "string", "pattern": "("}, "regular"),
    ({"type": "array", "items": 3}, "schema.items is 3"),
    ({"type": "object", "properties": {"a": {"type": "x"}}}, "schema.properties.a")])
def test_what_is_refused_by_name(schema, names):
  with pytest.raises(ValueError, match=names):
    json_schema.language(schema)
