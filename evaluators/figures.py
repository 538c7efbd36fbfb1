"""From scored rows to figures: a metric with its interval, published score and majority answer.

A figure is what report.py draws and metrics.json holds:

  {"task", "metric", "value", "interval", "published", "baseline", "n", "percent", "warnings"}

all scores on the scale of our metric; percent says that the papers print it times 100.
"""
import math

from big_vlm.reporting import columns
from evaluators import recipe
from evaluators.metrics import bootstrap

SAME = 1e-9  # a metric this near to the mean of the rows' scores is that mean


def of(evaluator, rows, published, warnings):
  """{"name/metric": figure} of an Evaluator's rows, which get their scores.

  published: {"name/metric": score as the papers print it}. warnings: a recipe.Warnings.
  """
  metrics = evaluator.score(rows)
  return _figures(evaluator, metrics, published, warnings, len(rows), evaluator.baseline(rows),
                  lambda metric, value: interval(metric, value, rows))


def of_mean(evaluator, found, published, warnings):
  """The figures of a mean.Mean over others; found: the figures of those, among any others."""
  metrics = evaluator.score({key: figure["value"] for key, figure in found.items()})
  parts = [found[f"{part.name}/{evaluator.metric}"] for part in evaluator.parts]
  baselines = [part["baseline"] for part in parts]
  baseline = {} if None in baselines else dict.fromkeys(metrics, math.fsum(baselines) / len(parts))
  return _figures(evaluator, metrics, published, warnings, sum(part["n"] for part in parts),
                  baseline, lambda metric, value: None)


def _figures(evaluator, metrics, published, warnings, n, baseline, interval_of):
  found = {}
  for key, value in metrics.items():
    metric = key.removeprefix(evaluator.name + "/")
    percent = evaluator.in_percent(metric)
    theirs = recipe.score(published.get(key), percent)
    found[key] = {
        "task": evaluator.name, "metric": metric, "value": value,
        "interval": interval_of(metric, value), "published": theirs,
        "baseline": baseline.get(key), "n": n, "percent": percent,
        "warnings": warnings.of(evaluator.name, compared=theirs is not None, first=not found)}
  return found


def interval(metric, value, rows):
  """(low, high) of 95 %, drawn over examples, where a metric is the mean of what rows score.

  That is so of accuracies and ANLS, of accuracies of a group ("accuracy/simple"), of pairs
  ("pair_accuracy"), of CIDEr (given how rare words are in this set), mIoU, TEDS and losses; error
  rates, ratios of what rows have as "errors", have one too. Of other ratios over the set (AP, cIoU,
  F1, BLEU) and of means over kinds and data sets there is none: None. Questions on one image are
  drawn together where rows have "image/id".
  """
  if rows and metric in rows[0].get("errors", ()):
    distances, lengths = zip(*(row["errors"][metric] for row in rows))
    _, low, high = bootstrap.interval(distances, weights=lengths)
    return 100 * low, 100 * high
  group = metric.partition("/")[2]
  rows = [row for row in rows if row.get("score") is not None
          and (not group or str(row.get("group")) == group)]
  scores, clusters = [float(row["score"]) for row in rows], [row.get("image/id") for row in rows]
  if metric == "pair_accuracy":
    pairs = {}
    for row in rows:
      pairs.setdefault(row.get("pair"), []).append(row["score"] == 1)
    scores, clusters = [float(all(right)) for right in pairs.values()], [None]
  if len(set(scores)) < 2 or not all(map(math.isfinite, [*scores, value])):
    return None  # where all are the same, drawing tells nothing
  if abs(math.fsum(scores) / len(scores) - value) > SAME:
    return None
  return bootstrap.interval(scores, clusters=None if None in clusters else clusters)[1:]


def table(figures):
  """The figures as text, one a line; intervals and published scores where any is published."""
  compared = any(f["published"] is not None for f in figures)
  lines = [["metric", "model", *["95 % interval", "published"] * compared, "majority answer",
            "examples"]]
  for f in figures:
    value, published, baseline = (text(f[k], f) for k in ("value", "published", "baseline"))
    between = " to ".join(text(x, f) for x in f["interval"] or (None,))
    lines.append([f"{f['task']}/{f['metric']}", value, *[between, published] * compared, baseline,
                  str(f["n"])])
  return columns(lines)


def text(value, figure):
  """A score as the papers print it: "63.5%", CIDEr times 100, "-" for None."""
  if value is None:
    return "-"
  if not figure["percent"]:
    return str(value) if isinstance(value, int) else f"{value:.3f}"
  return f"{100 * value:.1f}" if figure["metric"].startswith("cider") else f"{value:.1%}"
