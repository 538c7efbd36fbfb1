"""Short answers, by the metric of each benchmark (METRICS), on which the number depends.

Each gives first the result that PaliGemma's reports print, and beside it, under names of their own,
what others compute from the same answers (evaluators/metrics/ says by which code).
"""
import collections

from evaluators.metrics import (
    choices,
    groups,
    molecules,
    remote_sensing,
    science_qa,
    text,
    true_false,
    vqa,
    yes_no,
)
from evaluators.predictions import answer_text, require_keys
from pp.names import pick

CORRECT = 0.5  # of ten annotators two or three agree; ANLS counts a text from there on

# All but the fraction of yes in POPE are fractions of correct answers.
PERCENT = ("accuracy", "any_match", "vqav2_accuracy", "mmf_accuracy", "vizwiz_accuracy",
           "official_accuracy", "nearest_accuracy", "valid", "anls", "anls_server",
           "relaxed_accuracy", "relaxed_accuracy_without_units", "relaxed_accuracy_exact_years",
           "accuracy_ignoring_case", "consistency", "overall_accuracy", "average_accuracy",
           "parse_failures", "precision", "recall", "f1", "yes_ratio", "official_precision",
           "official_recall", "official_f1", "official_yes_ratio", "pair_accuracy",
           "canonical_match", "no_cis_trans_match", "graph_match")


def score(predictions, tokenizer, metric, to_lower=False):
  """{metric: 0..1} of the predictions against "answers", a list, or "answer", by a row of METRICS.

  to_lower: both sides in lower case. Raises ValueError where a prediction lacks a key that the
  metric needs, or has no answer.
  """
  del tokenizer
  metric = pick(METRICS, metric, "metric of the evaluator type vqa")
  require_keys(predictions, metric.keys, "vqa")
  fold = (lambda s: s.lower()) if to_lower else (lambda s: s)
  for p in predictions:
    p["references"] = _references(p)
    p.setdefault("suffix", collections.Counter(p["references"]).most_common(1)[0][0])
    if p.get(metric.group):
      p["group"] = str(p[metric.group]).replace("/", "_")  # as metrics of a group are called
  answers = [fold(p["prediction"]) for p in predictions]
  targets = [[fold(text) for text in p["references"]] for p in predictions]
  if metric.single:
    targets = [texts[0] for texts in targets]
  scores, results = metric.score(answers, targets, predictions)
  for p, value in zip(predictions, scores, strict=True):
    p["score"], p["correct"] = float(value), bool(value >= CORRECT)
  return results


def check(metric, to_lower=False):
  del to_lower
  pick(METRICS, metric, "metric of the evaluator type vqa")


def _references(p):
  if "answers" not in p:
    require_keys([p], ["answer"], "vqa")
    return [answer_text(p["answer"], p)]
  if not isinstance(p["answers"], (list, tuple)) or not p["answers"]:
    raise ValueError(f"The question {p.get('id')!r} has no answers to score by, but "
                     f"{p['answers']!r}. Questions of a test split go to the type `submission`.")
  return [answer_text(answer, p) for answer in p["answers"]]


def _each(metric, answers, targets):
  return [metric(*pair) for pair in zip(answers, targets, strict=True)]


def _means(**metrics):
  """A scorer that gives the mean of each metric; the first is also the score of a prediction."""
  def score(answers, targets, predictions):
    del predictions
    each = {name: _each(metric, answers, targets) for name, metric in metrics.items()}
    return next(iter(each.values())), {name: groups.mean(values) for name, values in each.items()}
  return score


def _both(one, all):
  """A scorer of a metric of one answer, and of one of all, (answers, targets) -> {name: value}."""
  return lambda answers, targets, predictions: (_each(one, answers, targets), all(answers, targets))


def _accuracy(answers, targets, predictions):
  """min(n / 3, 1) of equal strings: OKVQA."""
  means = _means(accuracy=vqa.vqa_accuracy, any_match=vqa.any_match)
  scores, results = means(answers, targets, predictions)
  if all(len(texts) > 1 for texts in targets):
    results["vqav2_accuracy"] = groups.mean(_each(vqa.vqav2_accuracy, answers, targets))
  return scores, results


def _vizwiz(answers, targets, predictions):
  """`accuracy`, and where there are several annotators that by VizWiz's own script."""
  scores, results = _accuracy(answers, targets, predictions)
  if "vqav2_accuracy" in results:
    results["vizwiz_accuracy"] = groups.mean(_each(vqa.vizwiz_accuracy, answers, targets))
  return scores, results


def _vqav2(answers, targets, predictions):
  scores = _each(vqa.vqav2_accuracy, answers, targets)
  parts = groups.by_group(scores, [p.get("group") for p in predictions])
  return scores, {"accuracy": groups.mean(scores),
                  **{f"accuracy/{group}": mean for group, (mean, _) in parts.items()}}


def _nlvr2(answers, targets, predictions):
  sentences = [true_false.nlvr2_sentence(p["example_id"]) for p in predictions]
  return (_each(text.exact_match, answers, targets),
          true_false.true_false(answers, targets, sentences))


def _aokvqa_da(answers, targets, predictions):
  difficult = [p["direct_answer_is_difficult"] for p in predictions]
  return _each(vqa.vqa_accuracy, answers, targets), choices.aokvqa_da(answers, targets, difficult)


def _aokvqa_mc(answers, targets, predictions):
  options = [p["multiple_choice_possible_answers"] for p in predictions]
  correct = [p["multiple_choice_correct_idx"] for p in predictions]
  return (_each(text.exact_match, answers, targets), choices.aokvqa_mc(answers, options, correct))


def _rsvqa(answers, targets, predictions):
  scores = _each(remote_sensing.rsvqa_accuracy, answers, targets)
  return scores, remote_sensing.rsvqa(scores, [p["question_type"] for p in predictions])


def _mmvp(answers, targets, predictions):
  scores = [choices.mmvp_accuracy(answer, target, p["choices"])
            for answer, target, p in zip(answers, targets, predictions, strict=True)]
  return scores, {"pair_accuracy": groups.all_correct(scores, [p["pair"] for p in predictions]),
                  "accuracy": groups.mean(scores)}


def _smiles(answers, targets, predictions):
  del predictions
  results = molecules.smiles(answers, targets)
  return (_each(molecules.smiles_exact_match, answers, targets),
          {"accuracy": results.pop("exact_match"), **results})


# A scorer takes (answers, targets, predictions): what the model wrote, the annotators' texts (a
# list, or with `single` the first), and the predictions with the `keys` that it needs besides. It
# returns (score of each prediction, {metric: value}). group: the key that a prediction's group is.
Metric = collections.namedtuple("Metric", "score, single, keys, group",
                                defaults=(False, (), "question_type"))
METRICS = {
    "accuracy": Metric(_accuracy),
    "vqav2": Metric(_vqav2, group="answer_type"),
    "textvqa": Metric(_means(accuracy=vqa.vqav2_accuracy, mmf_accuracy=vqa.textvqa_accuracy)),
    "vizwiz": Metric(_vizwiz),
    "exact": Metric(_means(accuracy=text.exact_match,
                           accuracy_ignoring_case=text.exact_match_ignoring_case), single=True),
    "nlvr2": Metric(_nlvr2, single=True, keys=["example_id"]),
    "anls": Metric(_means(anls=text.anls, anls_server=text.anls_server, any_match=vqa.any_match)),
    "relaxed": Metric(_means(
        relaxed_accuracy=text.relaxed_accuracy, accuracy=text.exact_match,
        relaxed_accuracy_without_units=text.relaxed_accuracy_without_units,
        relaxed_accuracy_exact_years=text.relaxed_accuracy_exact_years), single=True),
    "aokvqa_da": Metric(_aokvqa_da, keys=["direct_answer_is_difficult"]),
    "aokvqa_mc": Metric(_aokvqa_mc, single=True, keys=["multiple_choice_possible_answers",
                                                       "multiple_choice_correct_idx"]),
    "rsvqa": Metric(_rsvqa, keys=["question_type"]),
    "science_qa": Metric(_both(science_qa.science_qa_accuracy, science_qa.science_qa), single=True),
    "pope": Metric(_both(yes_no.yes_no_accuracy, yes_no.pope), single=True, group="answer"),
    "mmvp": Metric(_mmvp, single=True, keys=["choices", "pair"]),
    "smiles": Metric(_smiles, single=True),
}
