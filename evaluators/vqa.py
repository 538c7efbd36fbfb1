"""Short answers, by the rule of each benchmark (RULES): which it is changes the number.

Each rule gives first the figure that PaliGemma's reports print, and beside it, under names of their
own, what others compute of the same answers (evaluators/metrics/ says by which code).
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
from evaluators.rows import need
from pp.names import pick

RIGHT = 0.5  # of ten annotators two or three agree; ANLS counts a text from there on

# All but POPE's share of yes are shares of right answers.
PERCENT = ("accuracy", "any_match", "vqav2_accuracy", "mmf_accuracy", "vizwiz_accuracy",
           "official_accuracy", "nearest_accuracy", "valid", "anls", "anls_server",
           "relaxed_accuracy", "relaxed_accuracy_without_units", "relaxed_accuracy_exact_years",
           "accuracy_ignoring_case", "consistency", "overall_accuracy", "average_accuracy",
           "parse_failures", "precision", "recall", "f1", "yes_ratio", "official_precision",
           "official_recall", "official_f1", "official_yes_ratio", "pair_accuracy",
           "canonical_match", "no_cis_trans_match", "graph_match")


def score(rows, tokenizer, metric, to_lower=False):
  """{metric: 0..1} of the predictions against "answers", a list, or "answer", by a row of RULES.

  to_lower: both sides in lower case. Raises ValueError where a row lacks a key that the rule needs,
  or has no answer.
  """
  del tokenizer
  rule = pick(RULES, metric, "metric of the kind vqa")
  need(rows, rule.keys, "vqa")
  fold = (lambda s: s.lower()) if to_lower else (lambda s: s)
  for row in rows:
    row["references"] = _references(row)
    row.setdefault("suffix", collections.Counter(row["references"]).most_common(1)[0][0])
    if row.get(rule.group):
      row["group"] = str(row[rule.group]).replace("/", "_")  # as metrics of a group are called
  said = [fold(row["prediction"]) for row in rows]
  right = [[fold(answer) for answer in row["references"]] for row in rows]
  scores, metrics = rule.score(said, right, rows)
  for row, value in zip(rows, scores, strict=True):
    row["score"], row["correct"] = float(value), bool(value >= RIGHT)
  return metrics


def check(metric, to_lower=False):
  del to_lower
  pick(RULES, metric, "metric of the kind vqa")


def _references(row):
  if "answers" not in row:
    need([row], ["answer"], "vqa")
    return [str(row["answer"])]
  if not isinstance(row["answers"], (list, tuple)) or not row["answers"]:
    raise ValueError(f"The question {row.get('id')!r} has no answers to score by, but "
                     f"{row['answers']!r}. Questions of a test split go to the kind `store`.")
  return list(map(str, row["answers"]))


def _each(metric, said, right):
  return [metric(*pair) for pair in zip(said, right, strict=True)]


def _means(said, right, main, **metrics):
  """(scores by `main`, {name: mean of a metric}) with the first of the metrics as main."""
  each = {name: _each(metric, said, right) for name, metric in metrics.items()}
  return each[main], {name: groups.mean(scores) for name, scores in each.items()}


def _accuracy(said, right, rows):
  """min(n / 3, 1) of equal strings: OKVQA."""
  del rows
  scores, metrics = _means(said, right, "accuracy", accuracy=vqa.vqa_accuracy,
                           any_match=vqa.any_match)
  if all(len(answers) > 1 for answers in right):
    metrics["vqav2_accuracy"] = groups.mean(_each(vqa.vqav2_accuracy, said, right))
  return scores, metrics


def _vizwiz(said, right, rows):
  """`accuracy`, and where there are answers of several, that by VizWiz's own script."""
  scores, metrics = _accuracy(said, right, rows)
  if "vqav2_accuracy" in metrics:
    metrics["vizwiz_accuracy"] = groups.mean(_each(vqa.vizwiz_accuracy, said, right))
  return scores, metrics


def _vqav2(said, right, rows):
  scores = _each(vqa.vqav2_accuracy, said, right)
  parts = groups.by_group(scores, [row.get("group") for row in rows])
  parts = {f"accuracy/{kind}": mean for kind, (mean, _) in parts.items()}
  return scores, {"accuracy": groups.mean(scores), **parts}


def _textvqa(said, right, rows):
  del rows
  return _means(said, right, "accuracy", accuracy=vqa.vqav2_accuracy,
                mmf_accuracy=vqa.textvqa_accuracy)


def _exact(said, right, rows):
  del rows
  return _means(said, [answers[0] for answers in right], "accuracy", accuracy=text.exact_match,
                accuracy_ignoring_case=text.exact_match_ignoring_case)


def _nlvr2(said, right, rows):
  right = [answers[0] for answers in right]
  sentences = [true_false.nlvr2_sentence(row["example_id"]) for row in rows]
  return _each(text.exact_match, said, right), true_false.true_false(said, right, sentences)


def _anls(said, right, rows):
  del rows
  return _means(said, right, "anls", anls=text.anls, anls_server=text.anls_server,
                any_match=vqa.any_match)


def _relaxed(said, right, rows):
  del rows
  return _means(said, [answers[0] for answers in right], "relaxed_accuracy",
                relaxed_accuracy=text.relaxed_accuracy, accuracy=text.exact_match,
                relaxed_accuracy_without_units=text.relaxed_accuracy_without_units,
                relaxed_accuracy_exact_years=text.relaxed_accuracy_exact_years)


def _aokvqa_da(said, right, rows):
  difficult = [row["direct_answer_is_difficult"] for row in rows]
  return _each(vqa.vqa_accuracy, said, right), choices.aokvqa_da(said, right, difficult)


def _aokvqa_mc(said, right, rows):
  options = [row["multiple_choice_possible_answers"] for row in rows]
  correct = [row["multiple_choice_correct_idx"] for row in rows]
  return ([s == answers[0] for s, answers in zip(said, right, strict=True)],
          choices.aokvqa_mc(said, options, correct))


def _rsvqa(said, right, rows):
  scores = _each(remote_sensing.rsvqa_accuracy, said, right)
  return scores, remote_sensing.rsvqa(scores, [row["question_type"] for row in rows])


def _science_qa(said, right, rows):
  del rows
  right = [answers[0] for answers in right]
  return _each(science_qa.science_qa_accuracy, said, right), science_qa.science_qa(said, right)


def _pope(said, right, rows):
  del rows
  right = [answers[0] for answers in right]
  return _each(yes_no.yes_no_accuracy, said, right), yes_no.pope(said, right)


def _mmvp(said, right, rows):
  scores = [choices.mmvp_accuracy(s, answers[0], row["choices"])
            for s, answers, row in zip(said, right, rows, strict=True)]
  return scores, {"pair_accuracy": groups.all_right(scores, [row["pair"] for row in rows]),
                  "accuracy": groups.mean(scores)}


def _smiles(said, right, rows):
  del rows
  right = [answers[0] for answers in right]
  metrics = molecules.smiles(said, right)
  return (_each(molecules.smiles_exact_match, said, right),
          {"accuracy": metrics.pop("exact_match"), **metrics})


Rule = collections.namedtuple("Rule", "score, keys, group", defaults=((), "question_type"))
RULES = {
    "accuracy": Rule(_accuracy), "vqav2": Rule(_vqav2, group="answer_type"),
    "textvqa": Rule(_textvqa), "vizwiz": Rule(_vizwiz), "exact": Rule(_exact),
    "nlvr2": Rule(_nlvr2, ["example_id"]), "anls": Rule(_anls), "relaxed": Rule(_relaxed),
    "aokvqa_da": Rule(_aokvqa_da, ["direct_answer_is_difficult"]),
    "aokvqa_mc": Rule(_aokvqa_mc, ["multiple_choice_possible_answers",
                                   "multiple_choice_correct_idx"]),
    "rsvqa": Rule(_rsvqa, ["question_type"]), "science_qa": Rule(_science_qa),
    "pope": Rule(_pope, group="answer"), "mmvp": Rule(_mmvp, ["choices", "pair"]),
    "smiles": Rule(_smiles),
}
