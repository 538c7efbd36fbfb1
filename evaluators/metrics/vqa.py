"""Open-ended visual question answering: one prediction against several annotators' answers.

The answers are compared as strings, as they are. The VQAv2 server's own metric, which
normalises the text and leaves one annotator out at a time, is another metric: it gives
.3, .6, .9, 1 where the rule here gives .333, .667, 1, 1.
"""


def vqa_accuracy(prediction, answers):
  """Soft accuracy min(n / 3, 1), n the number of answers equal to the prediction.

  The rule of OKVQA, of A-OKVQA's direct answers, and of big_vision's VizWiz-VQA.

  The trap: with fewer than three answers the score cannot reach 1 (a right prediction
  scores 1/3 against a single answer), so a mean over such a set has a ceiling that does
  not show. Use `any_match` for those.

  Args:
    prediction: str.
    answers: list of str, one per annotator, repeats included (ten in OKVQA).

  Returns:
    float in [0, 1].

  Raises:
    TypeError: where `answers` is one string, which would be read letter by letter.
    ValueError: where `answers` is empty.
  """
  return min(_matches(prediction, answers) / 3, 1.0)


def any_match(prediction, answers):
  """1.0 if the prediction equals at least one of the answers, else 0.0.

  Arguments and errors as in `vqa_accuracy`.
  """
  return float(_matches(prediction, answers) > 0)


def _matches(prediction, answers):
  if isinstance(answers, str):
    raise TypeError(f"answers is the string {answers!r}; give a list of strings, one per "
                    "annotator, even for a single answer.")
  answers = list(answers)
  if not answers:
    raise ValueError(f"No answers to compare {prediction!r} with. Leave unlabelled questions "
                     "out of the mean: they have no score.")
  return sum(prediction == answer for answer in answers)
