"""Results of hand-made predictions: which have a CI, on which scale they are, how they print."""
import re
import types

import pytest

from evaluators import results
from evaluators.mean import Mean


def rows(*scores, **kw):
  return [{"score": s, **{k: v[i] for k, v in kw.items()}} for i, s in enumerate(scores)]


KINDS = ["simple"] * 8 + ["complex"] * 2
MIXED = rows(1, 1, 1, 1, 1, 0, 0, 0, 1, 1, group=KINDS)


@pytest.mark.parametrize("metric, value, given", [
    ("accuracy", 0.7, MIXED),
    ("accuracy/simple", 5 / 8, MIXED),
    ("cider", 1.25, rows(0.5, 2.0, 1.0, 1.5)),
    ("nll", 1.5, rows(1.0, 2.0, None)),  # predictions without a score do not count
    ("pair_accuracy", 1 / 3, rows(1, 1, 1, 0, 0, 1, pair=[1, 1, 2, 2, 3, 3])),
])
def test_a_mean_of_scores_has_a_ci(metric, value, given):
  low, high = results.interval(metric, value, given)
  assert low < value < high


def test_an_error_rate_has_one_in_per_cent():
  given = [{"score": 0.1, "errors": {"ser": [d, n]}} for d, n in ((1, 10), (0, 5), (4, 20))]
  low, high = results.interval("ser", 100 * 5 / 35, given)
  assert low == 0 and 5 / 35 < high / 100 == pytest.approx(0.2)


@pytest.mark.parametrize("metric, value, given", [
    ("AP", 0.3, rows(1, 0)),  # a ratio over the set is not a mean of scores
    ("accuracy", 0.5, rows(None, None)),
    ("accuracy", 0.5, []),
    ("AP", 0., rows(0, 0, 0)),  # what is all wrong gives no idea of how far it may move
    ("accuracy/rural", 0.5, MIXED),
    ("cider", float("nan"), rows(1, 0)),
])
def test_other_metrics_have_none(metric, value, given):
  assert results.interval(metric, value, given) is None


def test_questions_on_one_image_are_drawn_together():
  alone = results.interval("accuracy", 0.5, rows(*[0, 1] * 50))
  images = [i // 10 for i in range(100)]
  together = results.interval("accuracy", 0.5, rows(*[0] * 50, *[1] * 50, **{"image/id": images}))
  assert together[1] - together[0] > 2 * (alone[1] - alone[0])


class Warnings:
  def of(self, name, compared, first):
    return ["odd"] * compared + ["data"] * first


def evaluator(name, total=None, **metrics):
  score = lambda rows: {f"{name}/{k}": v for k, v in metrics.items()}
  return types.SimpleNamespace(
      name=name, type="vqa", steps=0, at_start=False, total=total, score=score, baseline=score,
      undefined=lambda metric: "there is one image", of_sample=lambda: "",
      in_percent=lambda metric: metric.startswith(("acc", "cider")))


def test_published_scores_come_to_our_scale():
  found = results.of(evaluator("vqav2/minival", anls=0.5, accuracy=0.7), MIXED,
                     {"vqav2/minival/accuracy": 82.1, "elsewhere/accuracy": 1.}, Warnings())
  assert list(found) == ["vqav2/minival/anls", "vqav2/minival/accuracy"]
  anls, accuracy = found.values()
  assert anls | dict(task="vqav2/minival", metric="anls", interval=None, published=None, n=10,
                     percent=False, warnings=["data"], baseline=0.5) == anls
  assert accuracy["published"] == pytest.approx(0.821) and accuracy["interval"]
  assert accuracy["warnings"] == ["odd"]


def test_the_result_of_a_mean():
  parts = [evaluator(f"pope/{name}", accuracy=value) for name, value in (("a", 0.8), ("b", 0.6))]
  found = {}
  for part in parts:
    found |= results.of(part, MIXED, {}, Warnings())
  got = results.of_mean(Mean("pope/avg2", parts, "accuracy"), found, {"pope/avg2/accuracy": 86.},
                        Warnings())["pope/avg2/accuracy"]
  assert got["value"] == pytest.approx(0.7) and got["published"] == pytest.approx(0.86)
  assert (got["n"], got["interval"], got["percent"]) == (20, None, True)
  assert got["baseline"] == pytest.approx(0.7)


def test_an_undefined_metric_has_no_value_but_a_reason():
  part = evaluator("coco/val", cider=float("nan"), acc=0.5)
  found = results.of(part, MIXED, {}, Warnings())
  assert found["coco/val/cider"]["value"] is found["coco/val/cider"]["baseline"] is None
  assert found["coco/val/cider"]["warnings"] == ["data", "cider is undefined: there is one image"]
  assert re.search(r"^coco/val/cider +- +- +10$", results.table(found.values()), re.MULTILINE)
  mean = results.of_mean(Mean("coco/avg", [part], "cider"), found, {}, Warnings())
  assert mean["coco/avg/cider"]["value"] is None


def test_a_sample_says_what_it_can_tell_of_all():
  found = results.of(evaluator("e", total=5000, accuracy=0.7, AP=0.3, acc=1.), MIXED, {},
                     Warnings())
  low, high = found["e/accuracy"]["interval"]
  assert found["e/accuracy"]["total"] == 5000 and found["e/accuracy"]["warnings"][-1] == (
      "accuracy is of a sample, 10 of 5,000 examples: that of all is between "
      f"{low:.1%} and {high:.1%}, with a confidence of 95 %")
  assert found["e/AP"]["warnings"][-1].endswith("so that it may be far from that of all")
  assert "up to 30.0% of all may be otherwise" in found["e/acc"]["warnings"][-1]
  assert re.search(r"^e/accuracy +70\.0% +[\d.]+% to [\d.]+% .* 10 of 5000$",
                   results.table(found.values()), re.MULTILINE)
  whole = results.of(evaluator("e", total=10, accuracy=0.7), MIXED, {}, Warnings())
  assert whole["e/accuracy"]["total"] is None and whole["e/accuracy"]["warnings"] == ["data"]


def test_the_table():
  warnings = Warnings()
  plain = results.of(evaluator("ocr", acc=0.942), MIXED, {}, warnings)
  table = results.table(plain.values())
  assert re.search(r"^ocr/acc +94\.2% +94\.2% +10$", table, re.MULTILINE), table
  compared = results.of(evaluator("coco", cider=1.419, acc=0.7, nll=1.5), MIXED,
                        {"coco/acc": 75.}, warnings)
  table = results.table([*plain.values(), *compared.values()])
  assert re.search(r"^metric +model +95 % bootstrap CI +published +majority class +examples$",
                   table, re.MULTILINE)
  assert re.search(r"^coco/acc +70\.0% +[\d.]+% to [\d.]+% +75\.0% +70\.0% +10$", table,
                   re.MULTILINE), table
  assert re.search(r"^coco/cider +141\.9 +- +- +141\.9 +10$", table, re.MULTILINE), table
  assert re.search(r"^coco/nll +1\.500 +- ", table, re.MULTILINE), table
  assert table.endswith("\nmajority class: fitted on the same examples")
