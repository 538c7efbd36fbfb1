"""Answers out of given options: which one a text names, and which is nearest (A-OKVQA, MMVP)."""
import re

from evaluators.metrics import groups, ids
from evaluators.metrics.edit import edit_distance
from evaluators.metrics.text import check_answers
from evaluators.metrics.vqa import vqa_accuracy

_LABEL = re.compile(r"\(([a-z])\)\s*(.*)|([a-z])[.)]?|([a-z])[.):]\s+(.*)", re.DOTALL)


def named_choice(prediction, choices):
  """The index of the option that a prediction names, or None.

  Case, space at the ends and a final point are ignored. Named is an option by its text ("Open"), by
  its letter ("(a)", "a", "a.", "a)"), or by both ("(a) Open", "a. Open") if they agree. An option
  that is itself one letter goes by its text. Two options of the same text cannot be told apart:
  their text names neither.
  """
  plain = lambda text: text.strip().removesuffix(".").strip().lower()
  answer, texts = plain(prediction), [plain(c) for c in check_answers(prediction, choices)]
  if texts.count(answer) == 1:
    return texts.index(answer)
  if not (match := _LABEL.fullmatch(prediction.strip().lower())):
    return None
  index = ord(match[1] or match[3] or match[4]) - ord("a")
  text = plain(match[2] or match[5] or "")
  return index if index < len(texts) and text in ("", texts[index]) else None


def mmvp_accuracy(prediction, answer, choices):
  """1.0 if the prediction names the right option of an MMVP question, else 0.0.

  Feed the scores and the pairs' numbers to `groups.all_correct`: a pair counts if both of its
  questions are right; chance is 25 %. The benchmark's own grader is GPT-4, and PaliGemma's rule is
  not published: this one, `named_choice`, is ours. Questions 99, 100, 279 and 280 have wrong labels
  in the original data; say whether yours are corrected.

  Args:
    prediction: str.
    answer: the label, "(a)" or "(b)", or the text of the right option.
    choices: list of str, the options without their labels.

  Raises:
    ValueError: where the answer names none of the choices.
    TypeError: where a string is given for the list.
  """
  target = named_choice(answer, choices)
  if target is None:
    raise ValueError(f"The answer {answer!r} is none of the choices {list(choices)}.")
  return float(named_choice(prediction, choices) == target)


def nearest_choice(prediction, choices, distance=None):
  """The index of the option nearest to a prediction; the first of several.

  A-OKVQA's own script takes the cosine of GloVe word vectors, which is another measure, with
  weights of its own: give it as `distance` to have its numbers.

  Args:
    prediction: str.
    choices: list of str.
    distance: (str, str) -> float; by default the edit distance of the lower-case strings over the
      length of the longer one.
  """
  def letters(a, b):
    return edit_distance(a.lower(), b.lower()) / (max(len(a), len(b)) or 1)
  distance = distance or letters
  distances = [distance(prediction, choice) for choice in check_answers(prediction, choices)]
  return distances.index(min(distances))


def aokvqa_mc(predictions, choices, correct, distance=None):
  """A-OKVQA, multiple choice: fractions in 0..1.

    accuracy           the prediction is the right option, character for character: the official
                       metric, and PaliGemma's
    nearest_accuracy   the right option is the one nearest to the prediction (`nearest_choice`)
    valid              the prediction is one of the options; below 1 the official script, in its
                       strict mode, takes no submission

  Args:
    predictions: list of str.
    choices: list of lists of str.
    correct: list of int, the index of the right option.
    distance: as in `nearest_choice`.

  Raises:
    ValueError: where the lists are empty or differ in length, or an index is out of range.
  """
  rows = ids.rows(predictions=predictions, choices=choices, correct=correct)
  for _, options, index in rows:
    if not 0 <= index < len(options):
      raise ValueError(f"The right option is number {index} of {len(options)}: out of range. The "
                       "test split has no labels.")
  return {"accuracy": groups.mean(text == options[index] for text, options, index in rows),
          "nearest_accuracy": groups.mean(
              nearest_choice(text, options, distance) == index for text, options, index in rows),
          "valid": groups.mean(text in options for text, options, _ in rows)}


def aokvqa_da(predictions, answers, difficult):
  """A-OKVQA, direct answer, by `vqa.vqa_accuracy`; 0..1.

    accuracy            over all questions: what big_vision computes on the validation split
    official_accuracy   without those marked difficult_direct_answer, as the official script and
                        the leaderboard; left out where no question remains

  Source: allenai/aokvqa, evaluation/eval_predictions.py.

  Args:
    predictions: list of str.
    answers: list of lists of str.
    difficult: list of bool.

  Raises:
    ValueError: where the lists are empty or differ in length.
  """
  rows = ids.rows(predictions=predictions, answers=answers, difficult=difficult)
  scores = [vqa_accuracy(text, given) for text, given, _ in rows]
  kept = [score for score, (*_, hard) in zip(scores, rows) if not hard]
  official = {"official_accuracy": groups.mean(kept)} if kept else {}
  return {"accuracy": groups.mean(scores), **official}
