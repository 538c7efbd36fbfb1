"""Radiology reports: F1 of the findings that RadGraph reads in them; the reader is passed in."""
from evaluators.metrics import groups, ids

_LEVELS = ("radgraph_entity_f1", "radgraph_f1", "radgraph_complete_f1")


def radgraph_f1(predictions, references, annotate):
  """The three RadGraph F1 of a set of reports, and those of each; all in 0..1.

    radgraph_entity_f1    RG_E: entities (words, label)
    radgraph_f1           RG_ER: and whether an entity has a relation; the one mostly reported
    radgraph_complete_f1  RG_ER-bar: and each relation's kind and other end, words in lower case

  F1 is between the two reports' sets of these, and averaged over reports. A report that is empty,
  or in which no entity is found, scores 0, whatever the other is. Source: Delbrouck et al. 2022
  (arXiv 2210.12186); the package radgraph 0.1.18. PaliGemma 2 does not say which level it reports,
  nor by which version of the model; its references had mentions of earlier studies removed.

  Args:
    predictions, references: lists of str, as long as each other.
    annotate: list of str -> the annotation of each, {"entities": {id: {"tokens": str, "label": str,
      "relations": [[kind, id]]}}}, in a list, or in a dict by "0", "1", ... as
      `radgraph.RadGraph()` itself gives them. It never sees an empty report.

  Returns:
    ({level: mean}, [{level: score} of each report]).

  Raises:
    ValueError: where the lists are empty or differ in length, or annotate gives back another number
      of annotations or one without "entities".
  """
  rows = ids.rows(predictions=predictions, references=references)
  texts = list(dict.fromkeys(text for row in rows if all(row) for text in row))
  found = annotate(texts) if texts else []
  if isinstance(found, dict):
    found = [found[str(i)] for i in range(len(texts)) if str(i) in found]
  if len(found) != len(texts):
    raise ValueError(f"annotate was given {len(texts)} reports, but gave {len(found)} annotations.")
  known = dict(zip(texts, found))
  nothing = dict.fromkeys(_LEVELS, 0.0)
  scores = [radgraph_score(*(known[text] for text in row)) if all(row) else dict(nothing)
            for row in rows]
  return {level: groups.mean(score[level] for score in scores) for level in _LEVELS}, scores


def radgraph_score(prediction, reference):
  """{level: F1} of two annotations, as `radgraph_f1` describes them."""
  sides = [_facts(annotation) for annotation in (prediction, reference)]
  return {level: _f1(said, right) for level, said, right in zip(_LEVELS, *sides)}


def _facts(annotation):
  """The set of facts of each level."""
  if "entities" not in annotation:
    raise ValueError(f"An annotation has no 'entities', but {sorted(annotation)}.")
  entities = annotation["entities"]
  named, related, complete = set(), set(), set()
  for entity in entities.values():
    words, label = entity["tokens"], entity["label"]
    named.add((words, label))
    related.add((words, label, bool(entity["relations"])))
    complete |= {(words.lower(), label, kind, entities[other]["tokens"].lower())
                 for kind, other in entity["relations"]} or {(words, label)}
  return named, related, complete


def _f1(said, right):
  return 2 * len(said & right) / (len(said) + len(right)) if said and right else 0.0
