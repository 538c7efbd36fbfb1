"""A lexer from a list of regular expressions: the longest match wins, then the earlier rule.

Python's `re` takes the first alternative that matches, not the longest, so a tokenizer that is
defined by longest match needs this. The expressions are compiled into one automaton whose
states are made when a text first reaches them; a text costs one look-up for each character.

Syntax: a|b, (a), a*, a+, a?, a{2}, a{2,4}, [a-z], [^a-z] and . (any character, line breaks too).
A backslash makes the next character plain. Letters match both cases outside of brackets and
one case inside.
"""
import re

# Letters beyond ASCII whose capital or small letter is this one.
_ALSO = {"i": "\u0130\u0131", "s": "\u017f", "k": "\u212a"}
_MORE = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class Lexer:
  """Finds the longest match of any of some rules at a position.

  Args:
    rules: list of (pattern, follow), two strings. `follow` is what must come after the match
      ("" for anything): it counts for the length of a match, but is not part of it.

  Raises:
    ValueError: where an expression does not parse.
  """

  def __init__(self, rules):
    self._kinds = _Kinds()
    self._all = _Automaton([f"({p})({f})" if f else p for p, f in rules], self._kinds)
    self._parts = {i: (_Automaton([pattern], self._kinds), _Automaton([follow], self._kinds))
                   for i, (pattern, follow) in enumerate(rules) if follow}

  def read(self, text):
    """str -> its characters as numbers that the other method takes."""
    return [self._kinds[c] for c in text]

  def match(self, kinds, start):
    """-> (rule, end) of the longest match from `start` on, or None.

    A rule with a `follow` that could end at several places ends at the last of them.
    """
    last = None
    for found in self._all.matches(kinds, start):
      last = found
    if last is None or last[0] not in self._parts:
      return last
    rule, end = last
    pattern, follow = self._parts[rule]
    cuts = [cut for _, cut in pattern.matches(kinds, start)]
    return rule, next(cut for cut in reversed(cuts)
                      if any(stop == end for _, stop in follow.matches(kinds, cut)))


class _Kinds(dict):
  """{character: number}: equal numbers for characters that no expression tells apart."""

  def __init__(self):
    self.sets = {}       # source of a set -> its place
    self._members = []   # place -> does a character belong to it
    self.signatures = []  # number -> the places of the sets that hold such characters
    self._numbers = {}

  def add(self, source):
    if source not in self.sets:
      self.sets[source] = len(self.sets)
      self._members.append(re.compile(source, re.DOTALL).match)
    return self.sets[source]

  def __missing__(self, character):
    signature = frozenset(i for i, has in enumerate(self._members) if has(character))
    if signature not in self._numbers:
      self._numbers[signature] = len(self.signatures)
      self.signatures.append(signature)
    self[character] = number = self._numbers[signature]
    return number


class _Automaton:
  """Deterministic automaton of some expressions, made state by state as texts need them."""

  def __init__(self, patterns, kinds):
    self._kinds = kinds
    self._free, self._arrows = [], []  # state -> states reached without, with a character
    self._final = {}                   # state -> index of the expression that ends there
    begin = self._state()
    for i, pattern in enumerate(patterns):
      first, last = self._build(_parse(pattern))
      self._free[begin].append(first)
      self._final[last] = i
    self._ids, self._states = {}, []   # sets of states <-> numbers
    self._rows, self._accepts = [], []  # number -> {kind: number}, index of expression or None
    self._number([begin])

  def matches(self, kinds, start):
    """Yields (index of the expression, end) of every match from `start`, shortest first."""
    rows, accepts, state = self._rows, self._accepts, 0
    if accepts[0] is not None:
      yield accepts[0], start
    for i in range(start, len(kinds)):
      kind = kinds[i]
      after = rows[state].get(kind)
      if after is None:
        after = rows[state][kind] = self._step(state, kind)
      if after < 0:
        return
      state = after
      if accepts[state] is not None:
        yield accepts[state], i + 1

  def _step(self, number, kind):
    sets = self._kinds.signatures[kind]
    found = [target for state in self._states[number] for source, target in self._arrows[state]
             if source in sets]
    return self._number(found) if found else -1

  def _number(self, states):
    seen, todo = set(states), list(states)
    while todo:
      fresh = [s for s in self._free[todo.pop()] if s not in seen]
      seen.update(fresh)
      todo.extend(fresh)
    key = frozenset(seen)
    if key not in self._ids:
      self._ids[key] = len(self._states)
      self._states.append([s for s in seen if self._arrows[s]])
      self._rows.append({})
      self._accepts.append(min((self._final[s] for s in seen if s in self._final), default=None))
    return self._ids[key]

  def _state(self):
    self._free.append([])
    self._arrows.append([])
    return len(self._free) - 1

  def _build(self, tree):
    """Tree of `_parse` -> (first state, last state)."""
    kind, *parts = tree
    first = last = self._state()
    if kind == "set":
      last = self._state()
      self._arrows[first].append((self._kinds.add(parts[0]), last))
    elif kind == "row":
      for part in parts:
        start, stop = self._build(part)
        self._free[last].append(start)
        last = stop
    elif kind == "any":
      last = self._state()
      for part in parts:
        start, stop = self._build(part)
        self._free[first].append(start)
        self._free[stop].append(last)
    else:
      part, least, most = parts
      ends = []
      for i in range(most or max(least, 1)):
        if i >= least:
          ends.append(last)
        start, stop = self._build(part)
        self._free[last].append(start)
        last = stop
      if most is None:
        self._free[last].append(start)
      final = self._state()
      for end in ends + [last]:
        self._free[end].append(final)
      last = final
    return first, last


_ATOM = re.compile(r"\[\^?(?:\\.|[^\]\\])+\]|\\.|[^\\\[\]]", re.DOTALL)
_COUNT = re.compile(r"\{(\d+)(,?)(\d*)\}")


def _parse(pattern):
  """-> ("set", source) | ("row", *trees) | ("any", *trees) | ("times", tree, least, most)."""
  tree, end = _alternatives(pattern, 0)
  if end < len(pattern):
    raise ValueError(f"The expression {pattern!r} has a ')' too many at {end}.")
  return tree


def _alternatives(pattern, i):
  rows = [[]]
  while i < len(pattern) and pattern[i] != ")":
    if pattern[i] == "|":
      rows.append([])
      i += 1
      continue
    if pattern[i] == "(":
      part, i = _alternatives(pattern, i + 1)
      if i == len(pattern):
        raise ValueError(f"The expression {pattern!r} lacks a ')'.")
      i += 1
    else:
      atom = _ATOM.match(pattern, i)
      if not atom or atom[0] in _MORE:
        raise ValueError(f"The expression {pattern!r} cannot be read at {i}: {pattern[i:i + 9]!r}.")
      part, i = ("set", _source(atom[0])), atom.end()
    while i < len(pattern) and (pattern[i] in _MORE or _COUNT.match(pattern, i)):
      count = _COUNT.match(pattern, i)
      if count:
        least = int(count[1])
        most = least if not count[2] else int(count[3]) if count[3] else None
      else:
        least, most = _MORE[pattern[i]]
      part, i = ("times", part, least, most), count.end() if count else i + 1
    rows[-1].append(part)
  return ("any", *[("row", *row) for row in rows]), i


def _source(atom):
  """An atom of an expression -> what `re` calls the set of its characters."""
  if atom == "." or atom[0] == "[":
    return atom
  letter = atom[-1]
  same = {letter, letter.lower(), letter.upper(), *_ALSO.get(letter, "")}
  return "[" + "".join(re.escape(c) for c in sorted(same)) + "]"
