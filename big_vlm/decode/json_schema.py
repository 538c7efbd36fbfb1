"""JSON Schema as a language of automaton.py: the texts that json.dumps writes without spaces.

What is not here is refused by name, never ignored. A language of an automaton nests to a depth that
is known: values of which a schema says nothing nest to MAX_DEPTH, and schemas that hold themselves
are refused. Fields come in the order of "properties", and no others.
"""
import json
import math

from big_vlm.decode import automaton
from big_vlm.decode.automaton import chars, literal
from pp.names import near_miss

MAX_DEPTH = 3  # of arrays and objects in a value of which the schema says nothing
NOTES = ("title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs",
         "definitions", "deprecated", "readOnly", "writeOnly")
TYPES = {"string": ("minLength", "maxLength", "pattern"), "integer": (), "number": (),
         "boolean": (), "null": (), "array": ("items", "minItems", "maxItems"),
         "object": ("properties", "required", "additionalProperties")}
WHOLE = ("type", "enum", "const", "anyOf", "$ref")
KNOWN = (*WHOLE, *NOTES, *(name for names in TYPES.values() for name in names))
MOST = 1000  # of characters or items in a limit: each is a state

_HEX = chars("0-9a-fA-F")
_HEX2 = ("repeat", _HEX, 2, 2)
# \uXXXX, and a character of two of them, a surrogate pair; half a pair is no text.
_UNIT = ("seq", (literal("u"), ("any", (
    ("seq", (chars("0-9a-cefA-CEF"), _HEX, _HEX2)), ("seq", (chars("dD"), chars("0-7"), _HEX2))))))
_PAIR = ("seq", (literal("u"), chars("dD"), chars("89abAB"), _HEX2, literal("\\u"), chars("dD"),
                 chars("c-fC-F"), _HEX2))
_ESCAPED = ("any", (chars('"\\/bfnrt'), _UNIT, _PAIR))
_PLAIN = automaton.without([(0, 31), (34, 34), (92, 92)])
_CHARACTER = ("any", (("chars", _PLAIN), ("seq", (literal("\\"), _ESCAPED))))
_STRING = ("seq", (literal('"'), ("repeat", _CHARACTER, 0, None), literal('"')))
_INTEGER = automaton.regex(r"-?(0|[1-9][0-9]{0,14})")  # what a double holds exactly
_NUMBER = ("seq", (_INTEGER, automaton.regex(r"(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?")))
_SIMPLE = {"string": _STRING, "integer": _INTEGER, "number": _NUMBER,
           "boolean": ("any", (literal("true"), literal("false"))), "null": literal("null")}


def language(schema):
  """The language of a schema, a dict or a bool. Raises ValueError that names what is not here."""
  try:
    return _Reader(schema).node(schema, "schema", ())
  except RecursionError:
    raise ValueError("The schema nests too deep.") from None


def _any(depth):
  nodes = tuple(_SIMPLE[t] for t in ("string", "number", "boolean", "null"))
  if depth:
    inner = _any(depth - 1)
    nodes += (_object(inner), _array(inner, 0, None))
  return ("any", nodes)


def _object(value):
  pair = ("seq", (_STRING, literal(":"), value))
  return _in("{", ("repeat", ("list", pair, literal(",")), 0, 1), "}")


def _array(item, least, most):
  if most == 0:
    return literal("[]")
  if least <= 1 and most is None:
    inner = ("list", item, literal(","))
    inner = inner if least else ("repeat", inner, 0, 1)
  else:
    more = ("repeat", ("seq", (literal(","), item)), max(least - 1, 0),
            None if most is None else most - 1)
    inner = ("seq", (item, more)) if least else ("repeat", ("seq", (item, more)), 0, 1)
  return _in("[", inner, "]")


def _in(begin, node, end):
  return ("seq", (literal(begin), node, literal(end)))


class _Reader:

  def __init__(self, root):
    self._root, self._read = root, 0

  def node(self, schema, where, inside):
    """inside: the references that led here."""
    self._read += 1
    if self._read > automaton.MAX_STATES:  # references to references, twice each time
      raise ValueError(f"The schema is too large: more than {automaton.MAX_STATES:,} parts.")
    if schema is True or schema == {}:
      return _any(MAX_DEPTH)
    if not isinstance(schema, dict):
      raise ValueError(f"{where} is {schema!r:.60}: a JSON schema is an object.")
    for name in schema:
      if name not in KNOWN:
        raise ValueError(f"{where} has {name!r:.60}, which grammars do not know."
                         f"{near_miss(name, KNOWN)}")
    whole = [name for name in WHOLE[1:] if name in schema]
    if len(whole) > 1 or whole and set(schema) - {*whole, *NOTES, "type"}:
      raise ValueError(f"{where} has {whole[0]!r} beside {sorted(set(schema) - {whole[0]})}: "
                       "one of them has to do.")
    if whole and "type" not in schema:
      return self._whole(whole[0], schema[whole[0]], where, inside)
    if "type" not in schema:
      raise ValueError(f"{where} has no 'type': one of {', '.join(TYPES)}.")
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    allowed = {name for kind in kinds if isinstance(kind, str) for name in TYPES.get(kind, ())}
    if bad := [k for k in kinds if k not in TYPES] if all(
        isinstance(k, str) for k in kinds) and kinds else [schema["type"]]:
      raise ValueError(f"{where} has the type {bad[0]!r:.60}: one of {', '.join(TYPES)}."
                       f"{near_miss(str(bad[0]), TYPES)}")
    if whole:
      return self._whole(whole[0], _of_types(schema, whole[0], kinds, where), where, inside)
    if odd := sorted(set(schema) - allowed - {*NOTES, "type"}):
      raise ValueError(f"{where} of type {kinds[0]!r} has {odd[0]!r}, which is another type's.")
    return ("any", tuple(self._typed(kind, schema, where, inside) for kind in kinds))

  def _whole(self, name, value, where, inside):
    if name == "const":
      return _written(value, where)
    if name in ("enum", "anyOf") and (not isinstance(value, list) or not value):
      raise ValueError(f"{where}: {name} is a list of one or more.")
    if name == "enum":
      return ("any", tuple(_written(v, where) for v in value))
    if name == "anyOf":
      return ("any", tuple(self.node(v, f"{where}.anyOf[{i}]", inside)
                           for i, v in enumerate(value)))
    if value in inside:
      raise ValueError(f"{where}: {value} holds itself, so it nests without end: write out as many "
                       "levels as are needed.")
    return self.node(self._resolve(value, where), value, (*inside, value))

  def _resolve(self, ref, where):
    found, parts = self._root, str(ref).split("/")
    for part in parts[1:]:
      found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(
          found, dict) else None
    if parts[0] != "#" or found is None:
      raise ValueError(f"{where}: there is no {ref!r:.60} in the schema; '#/$defs/name' is one.")
    return found

  def _typed(self, kind, schema, where, inside):
    if kind == "string":
      return _string(schema, where)
    if kind == "array":
      least, most = _limits(schema, "minItems", "maxItems", where)
      items = schema.get("items", True)
      return _array(self.node(items, f"{where}.items", inside), least, most)
    if kind == "object":
      return self._object(schema, where, inside)
    return _SIMPLE[kind]

  def _object(self, schema, where, inside):
    fields, needed = schema.get("properties", {}), schema.get("required", [])
    more = schema.get("additionalProperties", not fields)
    if not isinstance(fields, dict) or not isinstance(needed, list) or not all(
        isinstance(name, str) for name in needed):
      raise ValueError(f"{where}: properties is an object, required a list of names.")
    if odd := [name for name in needed if name not in fields]:
      raise ValueError(f"{where} requires {odd[0]!r:.60}, which is none of its properties."
                       f"{near_miss(str(odd[0]), fields)}")
    if fields and more not in (False, True):  # True: others may come, and none does
      raise ValueError(f"{where}: additionalProperties beside properties is true or false.")
    if not fields:
      return literal("{}") if more is False else _object(self.node(
          more, f"{where}.additionalProperties", inside))
    pairs = tuple((("seq", (literal(json.dumps(name, ensure_ascii=False) + ":"), self.node(
        value, f"{where}.properties.{name[:40]}", inside))), name in needed)
        for name, value in fields.items())
    return _in("{", ("fields", pairs, literal(",")), "}")


def _of_types(schema, name, kinds, where):
  """The value of "enum" or "const" beside a "type", whose types it has."""
  if name not in ("enum", "const"):
    raise ValueError(f"{where} has {name!r} beside 'type': leave the type out.")
  values = schema[name] if name == "enum" else [schema[name]]
  left = [v for v in values if _types_of(v) & set(kinds)] if isinstance(values, list) else values
  if not left and values:
    raise ValueError(f"{where}: no value of {name} {schema[name]!r:.60} is of the type "
                     f"{kinds[0]!r}.")
  return left if name == "enum" else schema[name]


def _types_of(value):
  if isinstance(value, bool):
    return {"boolean"}
  if isinstance(value, (int, float)):
    return {"number", "integer"} if math.isfinite(value) and value == int(value) else {"number"}
  return {{str: "string", list: "array", dict: "object"}.get(type(value), "null")}


def _string(schema, where):
  least, most = _limits(schema, "minLength", "maxLength", where)
  if "pattern" not in schema:
    return _in('"', ("repeat", _CHARACTER, least, most), '"')
  if {"minLength", "maxLength"} & set(schema):
    raise ValueError(f"{where} has a pattern and a length: write the length into the pattern.")
  inner = automaton.regex(schema["pattern"])
  _check_plain(inner, where, schema["pattern"])
  return _in('"', inner, '"')


def _check_plain(node, where, pattern):
  """Raises ValueError where a text has characters that JSON escapes."""
  if node[0] == "chars":
    if any(low <= 34 <= high or low <= 92 <= high or low < 32 for low, high in node[1]):
      raise ValueError(f"{where}: texts of the pattern {pattern[:60]!r} may have quotes, "
                       "backslashes or control characters: leave them out, as "
                       "[^\"\\\\\\x00-\\x1f] does.")
    return
  for part in node[1:]:
    if isinstance(part, tuple):
      for inner in [part] if part and isinstance(part[0], str) else part:
        _check_plain(inner, where, pattern)


def _limits(schema, low, high, where):
  least, most = schema.get(low, 0), schema.get(high)
  for name, value in ((low, least), (high, most)):
    if value is not None and (type(value) is not int or not 0 <= value <= MOST):
      raise ValueError(f"{where}: {name} is a whole number from 0 to {MOST}, not {value!r:.40}.")
  if most is not None and least > most:
    raise ValueError(f"{where}: {low} is {least} and {high} {most}.")
  return least, most


def _written(value, where):
  try:
    return literal(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
  except (TypeError, ValueError) as e:
    raise ValueError(f"{where}: {value!r:.60} is not a JSON value: {e}.") from None
