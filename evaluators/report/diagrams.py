"""The report's diagrams of classes: a confusion matrix, and how sure answers are and how right."""
import collections

from evaluators.metrics import classification

MOST = 16  # classes of a matrix; the others of a longer list are one
SIDE = 100  # units of the calibration curve's sides
OTHERS = "others"


def confusion(predictions):
  """{"classes", "rows": [(class, [(share of the row, count, title)])], "rest": classes that are
  together} of "classes", [reference, answer], of the predictions; None without them."""
  pairs = [p["classes"] for p in predictions if p.get("classes")]
  if not pairs:
    return None
  often = collections.Counter(name for pair in pairs for name in pair)
  kept = {name for name, _ in often.most_common(MOST)}
  merged = [[name if name in kept else OTHERS for name in pair] for pair in pairs]
  classes, counts = classification.confusion_matrix(*map(list, zip(*merged)))
  rows = []
  for name, row in zip(classes, counts.tolist()):
    total = max(sum(row), 1)
    rows.append((name, [(n / total, n, f"{name} answered as {other}: {n:,}, {n / total:.0%}")
                        for other, n in zip(classes, row)]))
  return {"classes": classes, "rows": rows, "rest": len(often) - len(kept)}


def calibration(predictions):
  """{"points": [(x, y, radius, title)], "words"} of the predictions' "probability"; None where one
  has none."""
  known = [p for p in predictions if p.get("correct") is not None]
  if not known or any(p.get("probability") is None for p in known):
    return None
  right, sure = [p["correct"] for p in known], [p["probability"] for p in known]
  error = classification.calibration_error(right, sure)
  return {"words": f"probability of the answers and how often they are right; on the mean they are "
                   f"{100 * error:.1f}\u2009% apart",
          "points": [(SIDE * x, SIDE * (1 - y), 2 + 5 * (count / len(known)) ** .5,
                      f"{count:,} answers: probability {x:.0%}, right {y:.0%}")
                     for x, y, count in classification.calibration_curve(right, sure)]}
