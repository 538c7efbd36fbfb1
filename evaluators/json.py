"""Structured answers: JSON against a JSON reference, field by field and as trees."""
import collections

from evaluators.metrics import groups, json_match
from evaluators.predictions import read_suffixes

PERCENT = ("exact", "field_acc", "field_f1", "tree_acc", "parses")


def score(predictions, tokenizer):
  """{"exact", "field_acc", "field_f1", "tree_acc", "parses"}, 0..1, against the JSON in "suffix".

  exact: the fraction of answers that are the same value, whatever the order of fields and the
  spaces. field_acc: of the references' fields, those that the answers have with the same value.
  field_f1: the F1 of all fields. tree_acc: the mean of 1 - normalized tree edit distance, which is
  a prediction's "score". parses: the fraction of answers that are JSON; others have no field.
  Raises ValueError for a reference that is not JSON.
  """
  del tokenizer
  read_suffixes(predictions, "json")
  counts = []
  for p in predictions:
    truth, sound = json_match.parse(p["suffix"])
    if not sound:
      raise ValueError(f"The reference {p['suffix']!r:.80} of the example {p.get('id')!r} is not "
                       "JSON.")
    found, p["parses"] = json_match.parse(p["prediction"])
    ours = json_match.fields(found) if p["parses"] else collections.Counter()
    theirs = json_match.fields(truth)
    counts.append(json_match.field_counts(ours, theirs))
    p["fields"] = list(counts[-1])
    p["score"] = json_match.tree_accuracy(found, truth) if p["parses"] else 0.
    p["correct"] = p["parses"] and json_match.same(found, truth)
  both, ours, theirs = map(sum, zip(*counts))
  return {"exact": groups.mean(float(p["correct"]) for p in predictions),
          "field_acc": both / theirs, "field_f1": 2 * both / (ours + theirs),
          "tree_acc": groups.mean(p["score"] for p in predictions),
          "parses": groups.mean(float(p["parses"]) for p in predictions)}
