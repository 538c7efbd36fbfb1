"""Languages as deterministic automata over bytes: from patterns, literals and lists of them.

A language is a tree of tuples:

  ("chars", ((low, high), ...))       one character of these ranges of code points
  ("seq", (node, ...))                one after another
  ("any", (node, ...))                one of them
  ("repeat", node, least, most)       most None: without end
  ("list", node, separator)           one or more, with separators between them
  ("fields", ((node, needed), ...), separator)   in this order; what is not needed may be left out

regex() reads one from a pattern, literal() makes one of a text, build() makes the automaton: a
non-deterministic one by Thompson's construction, with UTF-8 in its edges, then the subsets of its
states.

S states, 256 bytes.
"""
import collections
import re
from re import _constants as ops
from re import _parser

import numpy as np

MAX_STATES = 20_000  # of the automaton that is not deterministic; more are refused
MAX_SUBSETS = 5_000  # of the deterministic one
MAX_WORK = 3_000_000  # states and edges that are looked at for it: about 3 s
TOP = 0x10ffff
SURROGATES = (0xd800, 0xdfff)  # code points that UTF-8 does not have
CATEGORIES = {ops.CATEGORY_DIGIT: "0-9", ops.CATEGORY_SPACE: " \t\n\r\f\v",
              ops.CATEGORY_WORD: "a-zA-Z0-9_"}
NEGATED = {ops.CATEGORY_NOT_DIGIT: ops.CATEGORY_DIGIT, ops.CATEGORY_NOT_SPACE: ops.CATEGORY_SPACE,
           ops.CATEGORY_NOT_WORD: ops.CATEGORY_WORD}


def literal(text):
  return ("seq", tuple(("chars", ((ord(c), ord(c)),)) for c in text))


def chars(description):
  """The node of "a-z_": ranges and single characters."""
  return ("chars", _ranges_of(description))


def without(ranges):
  """The ranges of code points that are in none of some ranges; surrogates are in neither."""
  out, at = [], 0
  for low, high in sorted([*ranges, SURROGATES]):
    if low > at:
      out.append((at, low - 1))
    at = max(at, high + 1)
  return tuple(out + [(at, TOP)] * (at <= TOP))


def regex(pattern):
  """The language of the texts that re.fullmatch(pattern, text, re.ASCII) matches.

  Raises ValueError for a pattern that is none, and for what no automaton has: look-around,
  back-references, anchors within, flags.
  """
  try:
    parsed = _parser.parse(pattern)
  except (re.error, OverflowError, RecursionError, TypeError) as e:
    raise ValueError(f"{str(pattern)[:80]!r} is not a regular expression: {e}.") from None
  if parsed.state.flags & ~(re.ASCII | re.UNICODE):
    raise ValueError(f"The pattern {pattern[:80]!r} sets flags, such as (?i): write out what they "
                     "mean.")
  items = list(parsed)
  if items and items[0] in [(ops.AT, ops.AT_BEGINNING), (ops.AT, ops.AT_BEGINNING_STRING)]:
    items = items[1:]
  if items and items[-1] in [(ops.AT, ops.AT_END), (ops.AT, ops.AT_END_STRING)]:
    items = items[:-1]
  return _sequence(items, pattern)


def _sequence(items, pattern):
  return ("seq", tuple(_node(op, value, pattern) for op, value in items))


def _node(op, value, pattern):
  if op is ops.LITERAL:
    return ("chars", ((value, value),))
  if op is ops.NOT_LITERAL:
    return ("chars", without([(value, value)]))
  if op is ops.ANY:
    return ("chars", without([(10, 10)]))
  if op is ops.IN:
    negate, ranges = value[0][0] is ops.NEGATE, []
    for kind, x in value[negate:]:
      if kind is ops.CATEGORY:
        ranges += (without(_ranges_of(CATEGORIES[NEGATED[x]])) if x in NEGATED
                   else _ranges_of(CATEGORIES[x]))
      else:
        ranges.append((x, x) if kind is ops.LITERAL else x)
    return ("chars", without(ranges) if negate else tuple(ranges))
  if op is ops.BRANCH:
    return ("any", tuple(_sequence(branch, pattern) for branch in value[1]))
  if op is ops.SUBPATTERN and not value[1] and not value[2]:
    return _sequence(value[3], pattern)
  if op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
    low, high, inner = value
    return ("repeat", _sequence(inner, pattern), low, None if high is ops.MAXREPEAT else high)
  raise ValueError(f"The pattern {pattern[:80]!r} has {str(op).lower()}, which no automaton has: "
                   "write characters, sets, groups, | and repetitions.")


def _ranges_of(description):
  found = re.findall(r"(.)-(.)|(.)", description, re.DOTALL)
  return tuple((ord(a or c), ord(b or c)) for a, b, c in found)


class Automaton:
  """table: int32 [S, 256], the next state, -1: none; accepts: bool [S]. State 0 begins. Every state
  leads to one that accepts."""

  def __init__(self, table, accepts):
    self.table, self.accepts = table, accepts

  def matches(self, data):
    """Whether all of some bytes are a text of the language."""
    state = 0
    for byte in data:
      state = self.table[state, byte]
      if state < 0:
        return False
    return bool(self.accepts[state])


def build(node):
  """The Automaton of a language; ValueError for one of too many states, or without any text."""
  nfa = _Nfa()
  end = nfa.add(node, nfa.state())
  return nfa.determined(end)


class _Nfa:
  """edges[state]: [(lowest byte, highest, next)]; jumps[state]: [next], without a byte."""

  def __init__(self):
    self.edges, self.jumps = [], []

  def state(self):
    if len(self.edges) >= MAX_STATES:
      raise ValueError(f"The grammar is too large: more than {MAX_STATES:,} states. Repeat less "
                       "often, as {0,20} does, or nest less deep.")
    self.edges.append([])
    self.jumps.append([])
    return len(self.edges) - 1

  def add(self, node, begin):
    """Adds a node that begins in a state; returns the state in which it ends."""
    return getattr(self, f"_add_{node[0]}")(begin, *node[1:])

  def _add_chars(self, begin, ranges):
    end = self.state()
    for low, high in ranges:
      for part in utf8_ranges(low, high):
        at = begin
        for i, (first, last) in enumerate(part):
          after = end if i == len(part) - 1 else self.state()
          self.edges[at].append((first, last, after))
          at = after
    return end

  def _add_seq(self, begin, nodes):
    for node in nodes:
      begin = self.add(node, begin)
    return begin

  def _add_any(self, begin, nodes):
    end = self.state()
    for node in nodes:
      own = self.state()
      self.jumps[begin].append(own)
      self.jumps[self.add(node, own)].append(end)
    return end

  def _add_repeat(self, begin, node, least, most):
    for _ in range(least):
      begin = self.add(node, begin)
    if most is None:
      loop = self.state()
      self.jumps[begin].append(loop)
      self.jumps[self.add(node, loop)].append(loop)
      return loop
    end = self.state()
    for _ in range(most - least):
      self.jumps[begin].append(end)
      begin = self.add(node, begin)
    self.jumps[begin].append(end)
    return end

  def _add_list(self, begin, node, separator):
    first, end = self.state(), self.state()
    self.jumps[begin].append(first)
    last = self.add(node, first)
    self.jumps[last].append(end)
    self.jumps[self.add(separator, last)].append(first)
    return end

  def _add_fields(self, begin, fields, separator):
    none, some = self.state(), self.state()  # of the fields so far is there
    self.jumps[begin].append(none)
    for node, needed in fields:
      nothing, something = self.state(), self.state()
      self.jumps[self.add(node, none)].append(something)
      self.jumps[self.add(node, self.add(separator, some))].append(something)
      if not needed:
        self.jumps[none].append(nothing)
        self.jumps[some].append(something)
      none, some = nothing, something
    self.jumps[none].append(some)
    return some

  def determined(self, end):
    """The Automaton of the subsets of states."""
    begin = self._closure([0])
    numbers, waiting, rows, accepts = {begin: 0}, collections.deque([begin]), [], []
    work = 0
    while waiting:
      states = waiting.popleft()
      row, edges = np.full(256, -1, np.int32), [e for s in states for e in self.edges[s]]
      borders = sorted({low for low, _, _ in edges} | {high + 1 for _, high, _ in edges})
      work += len(states) * len(borders)
      if work > MAX_WORK:
        raise ValueError("The grammar is too large: its repetitions allow too many ways to read a "
                         "text. Repeat less often, as {0,20} does.")
      for low, above in zip(borders, borders[1:]):
        if after := self._closure([n for a, b, n in edges if a <= low <= b]):
          if after not in numbers:
            if len(numbers) >= MAX_SUBSETS:
              raise ValueError(f"The grammar is too large: more than {MAX_SUBSETS:,} states.")
            numbers[after] = len(numbers)
            waiting.append(after)
          row[low:above] = numbers[after]
      rows.append(row)
      accepts.append(end in states)
    return _trimmed(np.stack(rows), np.array(accepts))

  def _closure(self, states):
    found, waiting = set(states), list(states)
    while waiting:
      for after in self.jumps[waiting.pop()]:
        if after not in found:
          found.add(after)
          waiting.append(after)
    return frozenset(found)


def _trimmed(table, accepts):
  """Without the states that lead to no text."""
  useful, before = accepts.copy(), -1
  while useful.sum() != before:
    before = useful.sum()
    useful |= np.any(useful[table] & (table >= 0), axis=1)
  if not useful[0]:
    raise ValueError("The grammar has no text at all: no answer could end.")
  number = np.where(useful, np.cumsum(useful) - 1, -1).astype(np.int32)
  return Automaton(np.where(table >= 0, number[table], -1)[useful], accepts[useful])


def utf8_ranges(low, high):
  """[((first, last), ...)]: ranges of bytes whose products are the UTF-8 of low..high."""
  out = []
  for first, last in ((0, 0x7f), (0x80, 0x7ff), (0x800, 0xd7ff), (0xe000, 0xffff), (0x10000, TOP)):
    a, b = max(low, first), min(high, last)
    if a <= b:
      out += _same_length(tuple(chr(a).encode()), tuple(chr(b).encode()))
  return out


def _same_length(a, b):
  """Of two texts of as many bytes, all but the first in 0x80..0xbf, those from a to b."""
  if len(a) == 1:
    return [((a[0], b[0]),)]
  lows, highs = (0x80,) * (len(a) - 1), (0xbf,) * (len(a) - 1)
  if a[0] == b[0]:
    return [((a[0], a[0]), *rest) for rest in _same_length(a[1:], b[1:])]
  out, first, last = [], a[0], b[0]
  if a[1:] != lows:
    out += [((first, first), *rest) for rest in _same_length(a[1:], highs)]
    first += 1
  if b[1:] != highs:
    out += [((last, last), *rest) for rest in _same_length(lows, b[1:])]
    last -= 1
  if first <= last:
    out.append(((first, last), *zip(lows, highs)))
  return out
