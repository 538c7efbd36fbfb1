"""Results: a metric with its 95 % bootstrap CI, the published score and a majority-class baseline.

report/ draws results, and metrics.json holds them:

  {"task", "metric", "value", "interval", "published", "baseline", "n", "total", "percent",
   "warnings"}

The scores are on the scale of our metric; percent says that papers print it times 100. total: how
many examples the data have where n are a sample of them, else None. A metric
that the examples leave undefined, such as CIDEr of one image, has the value None, and the reason is
among its warnings.
"""
import math
from typing import NamedTuple

from big_vlm.reporting import columns
from evaluators import detection, recipe
from evaluators.metrics import bootstrap, detection_matches

FITTED_ON = "the same examples"  # see predictions.majority_class
SAME = 1e-9  # a metric this near to the mean of the predictions' scores is that mean


def of(evaluator, predictions, published, warnings):
  """{"name/metric": result} of an Evaluator's predictions, which get their scores.

  published: {"name/metric": score as the papers print it}. warnings: a recipe.Warnings.
  """
  metrics, of_boxes = evaluator.score(predictions), {}
  if evaluator.type == "detection" and math.isfinite(metrics[f"{evaluator.name}/AP"]):
    of_boxes = detection_matches.interval(detection.matches(predictions), clusters(predictions))
  return _results(evaluator, metrics, published, warnings, len(predictions),
                  evaluator.baseline(predictions),
                  lambda metric, value: (
                      of_boxes.get(metric) or interval(metric, value, predictions)),
                  evaluator.total)


def of_mean(evaluator, found, published, warnings):
  """The results of a mean.Mean over evaluators; found: the results of these, among any others."""
  metrics = evaluator.score({key: math.nan if result["value"] is None else result["value"]
                             for key, result in found.items()})
  parts = [found[f"{part.name}/{evaluator.metric}"] for part in evaluator.parts]
  baselines = [part["baseline"] for part in parts]
  baseline = {} if None in baselines else dict.fromkeys(metrics, math.fsum(baselines) / len(parts))
  return _results(evaluator, metrics, published, warnings, sum(part["n"] for part in parts),
                  baseline, lambda metric, value: None)


def _results(evaluator, metrics, published, warnings, n, baseline, interval_of, total=None):
  found, total = {}, total if total and total > n else None
  for key, value in metrics.items():
    metric = key.removeprefix(evaluator.name + "/")
    percent = evaluator.in_percent(metric)
    theirs = recipe.score(published.get(key), percent)
    noted = warnings.of(evaluator.name, compared=theirs is not None, first=not found)
    between = interval_of(metric, value)
    if total:
      noted = [*noted, f"{metric} is of a sample, {n:,} of {total:,} examples: "
                       + (evaluator.of_sample() or told_by(value, between, n, percent))]
    if not math.isfinite(value):
      noted = [*noted, f"{metric} is undefined: {evaluator.undefined(metric)}"]
    found[key] = {
        "task": evaluator.name, "metric": metric, "value": finite(value),
        "interval": between, "published": theirs, "baseline": finite(baseline.get(key)), "n": n,
        "total": total, "percent": percent, "warnings": noted}
  return found


def told_by(value, between, n, percent):
  """What a sample of n examples says about the metric of all, as text."""
  if between:
    scale = {"metric": "", "percent": percent}
    low, high = (text(x, scale) for x in between)
    return f"that of all is between {low} and {high}, with a confidence of 95 %"
  if percent and value in (0, 1):  # the rule of three: (1 - 3 / n)^n is 5 %
    return f"up to {min(3 / n, 1):.1%} of all may be otherwise, with a confidence of 95 %"
  return "no interval is known of this metric, so that it may be far from that of all"


def finite(value):
  """The value, or None for None, NaN and infinities."""
  return value if value is not None and math.isfinite(value) else None


def interval(metric, value, predictions):
  """(low, high) of the 95 % bootstrap CI where a metric is a ratio of sums over the examples, see
  parts(); None for other metrics, and where all scores are the same: resampling tells nothing then.
  Questions on one image are resampled together.
  """
  found = parts(metric, value, predictions)
  if not found or len({row[:2] for row in found.rows.values()}) < 2:
    return None
  scores, weights, images = zip(*found.rows.values())
  _, low, high = bootstrap.interval(scores, weights=weights, clusters=images)
  return found.scale * low, found.scale * high


class Parts(NamedTuple):
  rows: dict  # {place among the predictions: (score, weight, cluster)}
  scale: float  # of the metric: sum of scores / sum of weights * scale


def clusters(predictions):
  """[image of each prediction]: its "image/id", or the digest of what the model sees, or where
  neither is known the number of the prediction."""
  return [p.get("image/id", p.get("image_digest", i)) for i, p in enumerate(predictions)]


def parts(metric, value, predictions):
  """The Parts of a metric that is a ratio of sums over its examples, else None.

  Those are accuracies and ANLS, accuracies of a group ("accuracy/simple") and of pairs
  ("pair_accuracy"), CIDEr (given how rare words are in this set), mIoU, TEDS and losses, which are
  means of the predictions' scores, and error rates and recalls, ratios of their "errors" and
  "counts". Others (AP, cIoU, F1,
  BLEU), and means over groups and data sets, are not.
  """
  images = clusters(predictions)
  if predictions and metric in predictions[0].get("errors", ()):
    return Parts({i: (*map(float, p["errors"][metric]), images[i])
                  for i, p in enumerate(predictions)}, 100.)
  if predictions and any(metric in p.get("counts", ()) for p in predictions):
    return Parts({i: (*map(float, p["counts"][metric]), images[i])
                  for i, p in enumerate(predictions) if metric in p.get("counts", ())}, 1.)
  group = metric.partition("/")[2]
  scored = {i: p for i, p in enumerate(predictions) if p.get("score") is not None
            and (not group or str(p.get("group")) == group)}
  rows = {i: (float(p["score"]), 1., images[i]) for i, p in scored.items()}
  if metric == "pair_accuracy":
    pairs = {}
    for p in scored.values():
      pairs.setdefault(p.get("pair"), []).append(p["score"] == 1)
    rows = {pair: (float(all(correct)), 1., pair) for pair, correct in pairs.items()}
  scores = [score for score, *_ in rows.values()]
  if not scores or not all(map(math.isfinite, [*scores, value])):
    return None
  return Parts(rows, 1.) if abs(math.fsum(scores) / len(scores) - value) <= SAME else None


def table(results):
  """The results as text, one a line; CIs and published scores where any is published, or is of a
  sample. Below, what the majority class was fitted on."""
  compared = any(r["published"] is not None or r.get("total") for r in results)
  lines = [["metric", "model", *["95 % bootstrap CI", "published"] * compared, "majority class",
            "examples"]]
  for r in results:
    value, published, baseline = (text(r[k], r) for k in ("value", "published", "baseline"))
    between = " to ".join(text(x, r) for x in r["interval"] or (None,))
    lines.append([f"{r['task']}/{r['metric']}", value, *[between, published] * compared, baseline,
                  f"{r['n']} of {r['total']}" if r.get("total") else str(r["n"])])
  fitted = any(r["baseline"] is not None for r in results)
  return columns(lines) + f"\nmajority class: fitted on {FITTED_ON}" * fitted


def text(value, result, sign="-"):
  """A score as the papers print it: "63.5%", CIDEr times 100, "-" for None and NaN. sign "+": also
  of what is above 0."""
  if finite(value) is None:
    return "-"
  if not result["percent"]:
    return f"{value:{sign}}" if isinstance(value, int) else f"{value:{sign}.3f}"
  return (f"{100 * value:{sign}.1f}" if result["metric"].startswith("cider")
          else f"{value:{sign}.1%}")
