"""The lexer: longest match, ties, what follows; its expressions against `re`."""
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.metrics import lexer


def match(rules, text, start=0):
  machine = lexer.Lexer(rules)
  return machine.match(machine.read(text), start)


@pytest.mark.parametrize("rules, text, expected", [
    ([("a", ""), ("ab", "")], "abc", (1, 2)),        # the longest
    ([("a|ab|abcd", "")], "abc", (0, 2)),            # also within a rule, where `re` says 1
    ([("ab", ""), ("a.", "")], "ab", (0, 2)),        # as long: the first
    ([("a", "bc"), ("ab", "")], "abc", (0, 1)),      # what follows counts for the length
    ([("a", "bc"), ("ab", "")], "abd", (1, 2)),
    ([("a+", "a*b")], "aaab", (0, 3)),               # several places to end: the last
    ([("it|its", "'?s|x")], "it's", (0, 2)),         # | binds weaker than the follow
    ([("b", "")], "abc", None),
    ([("a*", "")], "b", (0, 0)),
    ([("cat", "")], "CAt", (0, 3)),                  # either case outside of brackets,
    ([("[c]at", "")], "CAT", None),                  # one inside
    ([("istanbul", "")], "\u0130stanbul", (0, 8)),
    ([("\\.{2,3}", "")], "....", (0, 3)),
    ([("a{2}", "")], "aaa", (0, 2)),
    ([("[^\\]a]+", "")], "bc]a", (0, 2)),
    ([(".", "")], "\n", (0, 1)),
])
def test_matches(rules, text, expected):
  assert match(rules, text) == expected


def test_start():
  assert match([("b+", "")], "abbc", 1) == (0, 3)


@pytest.mark.parametrize("pattern, named", [
    ("(a", "lacks a '\\)'"), ("a)", "too many at 1"), ("*a", "cannot be read at 0"),
    ("a[", "cannot be read at 1"),
])
def test_bad_expressions(pattern, named):
  with pytest.raises(ValueError, match=named):
    lexer.Lexer([(pattern, "")])


patterns = st.recursive(
    st.sampled_from(["a", "b", "[ab]", "[^a]", "."]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join), st.tuples(inner, inner).map("({0[0]}|{0[1]})".format),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,2}", "{2,}"])).map(
            "({0[0]}){0[1]}".format)),
    max_leaves=6)


@given(patterns, st.text("abc", max_size=6))
def test_the_longest_of_all_that_re_accepts(pattern, text):
  ends = [end for end in range(len(text) + 1)
          if re.compile(pattern, re.DOTALL).fullmatch(text, 0, end)]
  assert match([(pattern, "")], text) == ((0, ends[-1]) if ends else None)
