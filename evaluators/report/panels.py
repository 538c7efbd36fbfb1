"""The report's panels, one for each task: lengths of answers, how they ended, groups of questions.

They count all predictions, also those that the gallery leaves out. A length is in tokens, or in
characters where the tokens are not known.
"""
import collections
import math
import statistics

from evaluators.report import diagrams

_BINS = 24
_GROUPS = 40  # of a task; the others of a longer list are one
WIDTH, HEIGHT = 300, 84  # units of a plot, without its axis
_CUT = .01  # fraction of answers cut by the limit of tokens, above which the panel warns
_ENDS = ("eos", "stop", "length")
VERDICTS = {"wrong": "\u2717", "right": "\u2713", "unscored": "\u00b7"}


def panels(predictions):
  """[the template's values for a task], in order of first appearance."""
  by_task = collections.defaultdict(list)
  for p in predictions:
    by_task[str(p["task"])].append(p)
  return [{"task": task, "tally": tally(some), "histogram": _histogram(some), "ends": _ends(some),
           "groups": _groups(some), "confusion": diagrams.confusion(some),
           "calibration": diagrams.calibration(some)} for task, some in by_task.items()]


def verdict(p):
  """"right", "wrong", or "unscored" where it is unknown."""
  correct = p.get("correct")
  return "unscored" if correct is None else "right" if correct else "wrong"


def tally(predictions):
  """[(verdict, "\u2717 3 wrong")] of the verdicts that some of the predictions have; [] where all
  are unknown."""
  counts = collections.Counter(map(verdict, predictions))
  return [] if set(counts) == {"unscored"} else [
      (name, f"{mark} {counts[name]:,} {name}") for name, mark in VERDICTS.items()
      if counts[name]]


def _lengths(predictions):
  counts = [p.get("tokens") if p.get("tokens") is not None else p.get("logprobs")
            for p in predictions]
  if all(tokens is not None for tokens in counts):
    return [len(tokens) for tokens in counts], "tokens"
  return [len(str(p["prediction"])) for p in predictions], "characters"


def _histogram(predictions):
  """{"words", "bins": [(title, [(verdict, x, y, width, height)])], "ticks": [(x, text)]}."""
  lengths, unit = _lengths(predictions)
  least, most = min(lengths), max(lengths)
  step = max(1, math.ceil((most - least + 1) / _BINS))
  bins = [collections.Counter() for _ in range((most - least) // step + 1)]
  for p, length in zip(predictions, lengths):
    bins[(length - least) // step][verdict(p)] += 1
  tallest, wide = max(b.total() for b in bins), WIDTH / max(len(bins), 8)
  drawn = []
  for i, counts in enumerate(bins):
    first, last, y, bars = least + i * step, min(least + (i + 1) * step - 1, most), HEIGHT, []
    span = f"{first}" if first == last else f"{first} to {last}"
    for name in filter(counts.get, VERDICTS):
      height = HEIGHT * counts[name] / tallest
      y -= height
      bars.append((name, i * wide + .5, y, wide - 1, height))
    parts = ", ".join(f"{counts[name]:,} {name}" for name, *_ in bars)
    if bars:
      drawn.append((f"{span} {unit}: {parts}", bars))
  every = max(1, math.ceil(len(bins) / 8))
  ordered = sorted(lengths)
  p95 = ordered[math.ceil(.95 * len(ordered)) - 1]
  words = (f"{unit} of an answer: median {statistics.median_low(ordered):,}, 95\u2009% up to "
           f"{p95:,}, longest {most:,}")
  return {"words": words, "bins": drawn,
          "ticks": [((i + .5) * wide, f"{least + i * step:,}")
                    for i in range(0, len(bins), every)]}


def _ends(predictions):
  """{"words", "parts": [(class, x, width, title)], "cut": whether many were}; None if unknown."""
  counts = collections.Counter(str(p["finish_reason"]) for p in predictions
                               if p.get("finish_reason"))
  if not counts:
    return None
  names = [*(n for n in _ENDS if counts[n]), *sorted(set(counts) - set(_ENDS))]
  parts, x = [], 0.
  for name in names:
    width = WIDTH * counts[name] / counts.total()
    parts.append((name if name in _ENDS else "other", x, width, f"{name}: {counts[name]:,}"))
    x += width
  words = ", ".join(f"{name} {100 * counts[name] / counts.total():.1f}\u2009%" for name in names)
  return {"words": words, "parts": parts, "cut": counts["length"] / counts.total() > _CUT}


def _groups(predictions):
  """{"unit", "lines": [(group, width in percent, mean, count)], "rest"}; None without groups.

  The mean is of scores, or the fraction of right answers where a prediction has no score. The
  worst group comes first.
  """
  values = collections.defaultdict(list)
  for p in predictions:
    if p.get("group") is not None and (score := _score(p)) is not None:
      values[str(p["group"])].append(score)
  if not values:
    return None
  larger = sorted(values, key=lambda g: (-len(values[g]), g))
  shown, rest = larger[:_GROUPS], larger[_GROUPS:]
  percent = all(0 <= score <= 1 for some in values.values() for score in some)
  means = {group: statistics.fmean(some) for group, some in values.items()}
  top = 1 if percent else max(*means.values(), 1e-9)
  number = lambda mean: f"{100 * mean:.1f}" if percent else f"{mean:.3f}"
  lines = [(group, 100 * min(max(means[group] / top, 0), 1), number(means[group]),
            f"{len(values[group]):,}") for group in sorted(shown, key=lambda g: (means[g], g))]
  others = [v for group in rest for v in values[group]]
  return {"unit": " in %" if percent else "", "lines": lines, "rest": others and (
      f"{len(rest):,} smaller groups, {len(others):,} examples: "
      f"{number(statistics.fmean(others))}")}


def _score(p):
  score = p.get("score")
  if score is None:
    return None if p.get("correct") is None else float(bool(p["correct"]))
  return float(score) if math.isfinite(score) else None
