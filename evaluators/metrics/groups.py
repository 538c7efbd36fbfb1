"""Scores of questions: their mean, the mean of each group, the fraction of groups all correct."""
import math


def mean(scores):
  """The mean, as a float.

  Raises:
    ValueError: where there are no scores, or one is NaN.
  """
  scores = list(scores)
  if not scores:
    raise ValueError("No scores to average: the set is empty.")
  if bad := [i for i, score in enumerate(scores) if math.isnan(score)]:
    raise ValueError(f"{len(bad)} of {len(scores)} scores are NaN, e.g. those at {bad[:3]}. Leave "
                     "unlabelled questions out, and give a failed answer the score 0.")
  return math.fsum(scores) / len(scores)


def ratio(counts):
  """Sum of hits by sum of tries, of pairs (hits, tries)."""
  hits, tries = (sum(column) for column in zip(*counts))
  return hits / tries


def by_group(scores, groups):
  """{group: (mean, number)} of the scores, in order of first appearance.

  VQAv2 by answer type, TallyQA simple and complex, RSVQA by question type. Groups are any
  hashable; a None leaves the question out, as TallyQA's training questions, neither kind.

  Raises:
    ValueError: where the lists differ in length or are empty, or a score is NaN.
  """
  split = _split(scores, groups)
  return {group: (mean(values), len(values)) for group, values in split.items()}


def all_correct(scores, groups):
  """The fraction of groups in which every score is 1: NLVR2's consistency, MMVP's pairs.

  Chance is below that of single questions: .25 for pairs of two options each.

  Raises: as `by_group`.
  """
  split = _split(scores, groups)
  mean(scores)  # for its errors
  return mean(all(score == 1 for score in values) for values in split.values())


def _split(scores, groups):
  scores, groups = list(scores), list(groups)
  if len(scores) != len(groups):
    raise ValueError(f"{len(scores)} scores but {len(groups)} groups: give one group per score.")
  if not scores:
    raise ValueError("No scores to group: the set is empty.")
  split = {}
  for score, group in zip(scores, groups):
    if group is not None:
      split.setdefault(group, []).append(score)
  return split
