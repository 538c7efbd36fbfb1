"""The report's table of results: value and CI, the published score, a majority-class baseline."""
import itertools
import math
import numbers


def table(results):
  """The template's values for the results that write_report takes, in their order.

  Returns {"tasks": [(name, lines)], "warned": how many results have warnings, "known": the columns
  that have a value, "cider": whether it is among the metrics}, a line being {"metric", "value",
  "interval", "bar", "published", "difference", "inside", "baseline", "n", "warnings"}, texts but
  for "bar", see _bar, and "inside": bool, whether the CI holds the published score. None and ""
  stand for unknown values.
  """
  tasks = [(task, list(map(_line, some)))
           for task, some in itertools.groupby(results, key=lambda r: str(r["task"]))]
  lines = [line for _, some in tasks for line in some]
  return {"tasks": tasks, "warned": sum(bool(r.get("warnings")) for r in results),
          "known": {key for line in lines for key, value in line.items() if value},
          "cider": any(r.get("percent") and _is_cider(r) for r in results)}


def number(value, percent=False, unit=""):
  """"94.2" of .942 in percent, else three decimals or a whole number; "n/a" of None and NaN."""
  if value is None or not math.isfinite(value):
    return "n/a"
  if percent:
    return f"{100 * value:.1f}{unit}".replace("-", "\u2212")
  if isinstance(value, numbers.Integral):
    return f"{int(value):,}"
  return (f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}").replace("-", "\u2212")


def _line(result):
  percent, value = result.get("percent", False), _finite(result["value"])
  published, baseline = _finite(result.get("published")), _finite(result.get("baseline"))
  low, high = map(_finite, result.get("interval") or (None, None))
  interval = None if low is None or high is None else (low, high)
  difference = inside = None
  if value is not None and published is not None:
    difference = float(value - published)
    inside = interval and low <= published <= high
  unit = "" if _is_cider(result) else "%"
  text = lambda x: "" if x is None else number(x, percent, unit)
  points = "" if difference is None else number(difference, percent)  # no % of the score
  return {
      "metric": str(result["metric"]), "value": number(value, percent, unit),
      "interval": interval and f"{text(low)} to {text(high)}", "published": text(published),
      "difference": "+" * (difference is not None and difference >= 0) + points,
      "inside": inside, "baseline": text(baseline),
      "n": "" if result.get("n") is None else f"{int(result['n']):,}",
      "bar": _bar(value, interval, published, baseline, percent),
      "warnings": result.get("warnings") or ()}


def _is_cider(result):
  """Whether a metric is printed times 100 without being a fraction."""
  return str(result["metric"]).startswith("cider")


def _finite(value):
  return value if value is not None and math.isfinite(value) else None


def _bar(value, interval, published, baseline, percent):
  """{"value", "baseline", "published": places in percent of a line, "interval": (place, width)}.

  The line is from 0 to 1, or to the largest mark where there is no natural full scale. None for
  counts, which have no bar, and for a value that has neither a scale nor other marks.
  """
  if value is None or value < 0 or isinstance(value, numbers.Integral):
    return None
  marks = [v for v in (value, published, baseline, *(interval or ())) if v is not None]
  if not percent and len(marks) == 1:
    return None
  top = max([1 if percent else 0, *marks])
  at = lambda v: None if v is None else 100 * min(max(v / top, 0), 1) if top else 0
  low, high = map(at, interval or (None, None))
  return {"value": at(value), "baseline": at(baseline), "published": at(published),
          "interval": interval and (low, high - low)}
