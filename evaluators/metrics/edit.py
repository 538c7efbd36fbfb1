"""Edit distance of any two sequences: strings, lists of words, lists of lines."""
from rapidfuzz.distance import Levenshtein


def edit_distance(a, b):
  """Levenshtein distance: the fewest insertions, deletions and substitutions that make a of b.

  Args:
    a, b: sequences of hashable items: str, or lists of str, ...

  Returns:
    int >= 0.
  """
  return Levenshtein.distance(a, b)
