"""Results: a metric with its 95 % bootstrap CI, the published score and a majority-class baseline.

report/ draws results, and metrics.json holds them:

  {"task", "metric", "value", "interval", "published", "baseline", "n", "percent", "warnings"}

The scores are on the scale of our metric; percent says that papers print it times 100. A metric
that the examples leave undefined, such as CIDEr of one image, has the value None, and the reason is
among its warnings.
"""
import math

from big_vlm.reporting import columns
from evaluators import recipe
from evaluators.metrics import bootstrap

FITTED_ON = "the same examples"  # see predictions.majority_class
SAME = 1e-9  # a metric this near to the mean of the predictions' scores is that mean


def of(evaluator, predictions, published, warnings):
  """{"name/metric": result} of an Evaluator's predictions, which get their scores.

  published: {"name/metric": score as the papers print it}. warnings: a recipe.Warnings.
  """
  metrics = evaluator.score(predictions)
  return _results(evaluator, metrics, published, warnings, len(predictions),
                  evaluator.baseline(predictions),
                  lambda metric, value: interval(metric, value, predictions))


def of_mean(evaluator, found, published, warnings):
  """The results of a mean.Mean over evaluators; found: the results of these, among any others."""
  metrics = evaluator.score({key: math.nan if result["value"] is None else result["value"]
                             for key, result in found.items()})
  parts = [found[f"{part.name}/{evaluator.metric}"] for part in evaluator.parts]
  baselines = [part["baseline"] for part in parts]
  baseline = {} if None in baselines else dict.fromkeys(metrics, math.fsum(baselines) / len(parts))
  return _results(evaluator, metrics, published, warnings, sum(part["n"] for part in parts),
                  baseline, lambda metric, value: None)


def _results(evaluator, metrics, published, warnings, n, baseline, interval_of):
  found = {}
  for key, value in metrics.items():
    metric = key.removeprefix(evaluator.name + "/")
    percent = evaluator.in_percent(metric)
    theirs = recipe.score(published.get(key), percent)
    noted = warnings.of(evaluator.name, compared=theirs is not None, first=not found)
    if not math.isfinite(value):
      noted = [*noted, f"{metric} is undefined: {evaluator.undefined(metric)}"]
    found[key] = {
        "task": evaluator.name, "metric": metric, "value": finite(value),
        "interval": interval_of(metric, value), "published": theirs,
        "baseline": finite(baseline.get(key)), "n": n, "percent": percent,
        "warnings": noted}
  return found


def finite(value):
  """The value, or None for None, NaN and infinities."""
  return value if value is not None and math.isfinite(value) else None


def interval(metric, value, predictions):
  """(low, high) of the 95 % bootstrap CI where a metric is the mean of the predictions' scores.

  That holds for accuracies and ANLS, for accuracies of a group ("accuracy/simple"), of pairs
  ("pair_accuracy"), for CIDEr (given how rare words are in this set), mIoU, TEDS and losses, and
  for error rates, which are ratios of the predictions' "errors". Other ratios over the set (AP,
  cIoU, F1, BLEU) and means over groups and data sets have no CI: None. Questions on one image are
  resampled together where predictions have "image/id".
  """
  if predictions and metric in predictions[0].get("errors", ()):
    distances, lengths = zip(*(p["errors"][metric] for p in predictions))
    _, low, high = bootstrap.interval(distances, weights=lengths)
    return 100 * low, 100 * high
  group = metric.partition("/")[2]
  scored = [p for p in predictions if p.get("score") is not None
            and (not group or str(p.get("group")) == group)]
  scores, clusters = [float(p["score"]) for p in scored], [p.get("image/id") for p in scored]
  if metric == "pair_accuracy":
    pairs = {}
    for p in scored:
      pairs.setdefault(p.get("pair"), []).append(p["score"] == 1)
    scores, clusters = [float(all(correct)) for correct in pairs.values()], [None]
  if len(set(scores)) < 2 or not all(map(math.isfinite, [*scores, value])):
    return None  # where all are the same, resampling tells nothing
  if abs(math.fsum(scores) / len(scores) - value) > SAME:
    return None
  return bootstrap.interval(scores, clusters=None if None in clusters else clusters)[1:]


def table(results):
  """The results as text, one a line; CIs and published scores where any is published. Below, what
  the majority class was fitted on."""
  compared = any(r["published"] is not None for r in results)
  lines = [["metric", "model", *["95 % bootstrap CI", "published"] * compared, "majority class",
            "examples"]]
  for r in results:
    value, published, baseline = (text(r[k], r) for k in ("value", "published", "baseline"))
    between = " to ".join(text(x, r) for x in r["interval"] or (None,))
    lines.append([f"{r['task']}/{r['metric']}", value, *[between, published] * compared, baseline,
                  str(r["n"])])
  fitted = any(r["baseline"] is not None for r in results)
  return columns(lines) + f"\nmajority class: fitted on {FITTED_ON}" * fitted


def text(value, result):
  """A score as the papers print it: "63.5%", CIDEr times 100, "-" for None and NaN."""
  if finite(value) is None:
    return "-"
  if not result["percent"]:
    return str(value) if isinstance(value, int) else f"{value:.3f}"
  return f"{100 * value:.1f}" if result["metric"].startswith("cider") else f"{value:.1%}"
