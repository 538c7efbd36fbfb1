"""RSVQA: questions on satellite images, scored by type of question."""
from evaluators.metrics import groups, vqa
from evaluators.metrics.text import check_answers
from pp.names import pick

# Type of question: whether its answer is a number. The published score leaves those out.
_NUMERIC = {"comp": False, "presence": False, "rural_urban": False, "count": True, "area": True}


def rsvqa_accuracy(prediction, answers):
  """1.0 if the prediction equals one of the answers, ignoring case, else 0.0.

  Arguments and errors as in `vqa.vqa_accuracy`.
  """
  answers = [answer.lower() for answer in check_answers(prediction, answers)]
  return vqa.any_match(prediction.lower(), answers)


def rsvqa(scores, question_types):
  """The metrics of RSVQA-LR and -HR from the scores of their questions; all in 0..1.

    accuracy          what PaliGemma reports: the mean over the types whose answer is not a number
                      (comp, presence, and in LR rural_urban) of the mean of each type
    accuracy/TYPE     the mean of a type
    overall_accuracy  the mean over all questions (OA in other papers), numbers included if asked
    average_accuracy  the mean over all types (AA), numbers included

  big_vision gives the name of the first to the mean of comp and presence where rural_urban is there
  too: its log of LR is not the published score.

  Args:
    scores: list of float, by `rsvqa_accuracy`.
    question_types: list of str as long: comp, presence, rural_urban, count, area.

  Raises:
    ValueError: where a type is not known or all are numeric, or as `groups.by_group`.
  """
  scores, question_types = list(scores), list(question_types)
  for kind in dict.fromkeys(question_types):
    pick(_NUMERIC, kind, "type of question")
  means = {kind: mean for kind, (mean, _) in groups.by_group(scores, question_types).items()}
  plain = [mean for kind, mean in means.items() if not _NUMERIC[kind]]
  if not plain:
    raise ValueError(f"All questions are of the types {', '.join(means)}, whose answers are "
                     "numbers; the published score is over the others.")
  return {"accuracy": groups.mean(plain), **{f"accuracy/{k}": mean for k, mean in means.items()},
          "overall_accuracy": groups.mean(scores),
          "average_accuracy": groups.mean(means.values())}
