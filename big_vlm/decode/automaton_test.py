import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from big_vlm.decode import automaton

ALPHABET = "ab1 é中\n😀"
TEXT = st.text(st.sampled_from(ALPHABET), max_size=7)
ATOM = st.sampled_from(["a", "b", ".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", "[ab1]", "[^ab]",
                        "[à-ÿ]", "[^é]", "中", "[a-z中-亂😀]", r"[\dé]", r"[^\w]", "(?:)"])
PATTERN = st.recursive(ATOM, lambda x: (
    st.lists(x, min_size=2, max_size=3).map("".join)
    | st.lists(x, min_size=2, max_size=3).map(lambda p: f"(?:{'|'.join(p)})")
    | st.tuples(x, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{,2}", "*?"])).map(
        lambda p: f"({p[0]}){p[1]}")), max_leaves=7)
SETTINGS = settings(deadline=None, max_examples=150)


@SETTINGS
@given(PATTERN, st.lists(TEXT, max_size=12))
def test_it_matches_what_re_matches(pattern, texts):
  try:
    rules = automaton.build(automaton.regex(pattern))
  except ValueError as e:  # the pattern has no text
    assert "no text at all" in str(e)
    rules = None
  for text in ["", *texts]:
    wanted = re.fullmatch(pattern, text, re.ASCII) is not None
    assert (rules is not None and rules.matches(text.encode())) == wanted, (pattern, text)


@SETTINGS
@given(PATTERN, st.integers(0, 2**32 - 1))
def test_what_it_writes_re_matches(pattern, seed):
  """Every state leads to the end, and what is written on the way is UTF-8."""
  rules, rng = automaton.build(automaton.regex(pattern)), np.random.default_rng(seed)
  state, data = 0, b""
  while not (rules.accepts[state] and rng.random() < .3):
    ways = np.flatnonzero(rules.table[state] >= 0)
    if not len(ways) or len(data) > 500:
      break
    byte = rng.choice(ways)
    state, data = rules.table[state, byte], data + bytes([byte])
  if rules.accepts[state]:
    assert re.fullmatch(pattern, data.decode(), re.ASCII)


@pytest.mark.parametrize("low, high", [
    (0, 0x10ffff), (0x7f, 0x80), (0x7ff, 0x800), (0xd7ff, 0xe000), (0xffff, 0x10000),
    (0x3b1, 0x4e2d), (0x1f600, 0x1f64f)])
def test_utf8_ranges(low, high):
  parts = automaton.utf8_ranges(low, high)
  fits = lambda c: any(len(data) == len(part) and all(
      a <= byte <= b for byte, (a, b) in zip(data, part)) for part in parts
      for data in [chr(c).encode()])
  near = [c + d for c in (0, 0x7f, 0x800, 0xffff, low, high, 0x10ffff) for d in (-1, 0, 1)]
  for c in near:
    if 0 <= c <= 0x10ffff and not 0xd800 <= c <= 0xdfff:
      assert fits(c) == (low <= c <= high), hex(c)


def test_lists_and_fields():
  comma, word = automaton.literal(","), automaton.regex("[a-z]+")
  matches = lambda node, text: automaton.build(node).matches(text.encode())
  words = ("list", word, comma)
  assert [matches(words, t) for t in ("a", "a,bc", "", "a,", ",a")] == [
      True, True, False, False, False]
  fields = ("fields", ((automaton.literal("x"), False), (automaton.literal("y"), True),
                       (automaton.literal("z"), False)), comma)
  assert [matches(fields, t) for t in ("y", "x,y", "x,y,z", "y,z", "x,z", "", "xy", "y,x")] == [
      True, True, True, True, False, False, False, False]


@pytest.mark.parametrize("pattern, names", [
    ("(", "not a regular expression"), (r"(a)\1", "groupref"), ("a(?=b)", "assert"), (r"\bx", "at"),
    ("(?i)a", "flags"), ("(?i:a)", "subpattern"), ("(a{500}){500}", "too large"),
    ("[^\\x00-\U0010ffff]", "no text at all"), ("(a|b)*a(a|b){20}", "too large"),
    ("(a?b?c?){1500}", "too large")])
def test_what_is_refused(pattern, names):
  with pytest.raises(ValueError, match=names):
    automaton.build(automaton.regex(pattern))
