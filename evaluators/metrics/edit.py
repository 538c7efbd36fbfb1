"""Edit distance of any two sequences: strings, lists of words, lists of lines."""


def edit_distance(a, b):
  """Levenshtein distance: the fewest insertions, deletions and substitutions that make a of b.

  Hyyro's bit-vector form of the dynamic programme (2003, after Myers 1999): one column of it is one
  Python integer, so two texts of 5,000 symbols take milliseconds.

  Args:
    a, b: sequences of hashable items that know == (str, list of str, ...).

  Returns:
    int >= 0.
  """
  if len(a) > len(b):
    a, b = b, a
  if not a:
    return len(b)
  where = {}  # item: a bit for each of its places in `a`
  for i, item in enumerate(a):
    where[item] = where.get(item, 0) | 1 << i
  full, last = (1 << len(a)) - 1, 1 << len(a) - 1
  up, down, distance = full, 0, len(a)  # bits where the column steps by +1, by -1; its last entry
  for item in b:
    equal = where.get(item, 0)
    across = (((equal & up) + up) ^ up) | equal | down  # zero along the diagonal
    plus, minus = (down | ~(across | up)) & full, up & across
    distance += bool(plus & last) - bool(minus & last)
    plus, minus = (plus << 1 | 1) & full, (minus << 1) & full
    up, down = (minus | ~(across | plus)) & full, plus & across
  return distance
