"""The difference of two evaluations of the same examples: its interval, and what chance gives."""
import dataclasses

from evaluators import detection, results
from evaluators.metrics import bootstrap, detection_matches, paired

SAME = 1e-6  # to which an average precision is found again
NO_INTERVAL = ("no interval: it is neither a mean over the examples, nor COCO's AP, AP50 or AP75")


@dataclasses.dataclass(frozen=True)
class Difference:
  """Of a metric, second less first, on its scale. `why` says why interval, p and test are None."""
  metric: str
  value: float | None
  interval: tuple | None = None  # 95 %, of images drawn anew
  p: float | None = None
  test: str | None = None
  why: str = ""


def differences(values, predictions):
  """[Difference] of the metrics of an eval.

  values: ({metric: value or None} of the first evaluation, of the second), with the same metrics.
  predictions: those of both, about the same examples in the same order, with their scores.
  """
  found, of_boxes = [], {}
  for metric in values[0]:
    pair = [side[metric] for side in values]
    if None in pair:
      found.append(Difference(metric, None, why="it is undefined in one of the two"))
      continue
    if metric in detection_matches.NAMES and "objects/bbox" in predictions[0][0]:
      of_boxes = of_boxes or _of_boxes(predictions)
      if all(abs(side[metric] - again) <= SAME
             for side, again in zip(values, of_boxes["values"][metric])):
        gain, low, high, p = of_boxes[metric]
        found.append(Difference(metric, gain, (low, high), p, "permutation"))
        continue
    found.append(_of_parts(metric, pair, predictions))
  return found


def _of_parts(metric, pair, predictions):
  """The Difference of a metric that is a ratio of sums over the examples."""
  gain = pair[1] - pair[0]
  first, second = (results.parts(metric, value, rows) for value, rows in zip(pair, predictions))
  if not first or not second:
    return Difference(metric, gain, why=NO_INTERVAL)
  if first.rows.keys() != second.rows.keys():
    return Difference(metric, gain, why="the two have scores of different examples")
  rows = [(*a, *b) for a, b in zip(first.rows.values(), (second.rows[k] for k in first.rows))]
  weights, clusters = [row[1] for row in rows], [row[2] for row in rows]
  if weights != [row[4] for row in rows]:
    return Difference(metric, gain, why="the two weigh examples differently")
  deltas = [row[3] - row[0] for row in rows]
  _, low, high = bootstrap.interval(deltas, weights=weights, clusters=clusters)
  p, test = paired.p_value(deltas, clusters)
  return Difference(metric, gain, (first.scale * low, first.scale * high), p, test)


def _of_boxes(predictions):
  """{"AP", ...: (difference, low, high, p), "values": {"AP", ...: of both}}."""
  made = [detection.matches(rows) for rows in predictions]
  return {**detection_matches.paired(*made, results.clusters(predictions[0])),
          "values": {name: [m.values()[name] for m in made] for name in detection_matches.NAMES}}


def changed(predictions):
  """[index] of the examples that are right in one evaluation and wrong in the other."""
  verdict = lambda p: p.get("correct")
  return [i for i, (a, b) in enumerate(zip(*predictions))
          if None not in (verdict(a), verdict(b)) and bool(verdict(a)) != bool(verdict(b))]
