"""ScienceQA: the letter in "The answer is (letter)."."""
import re

from evaluators.metrics import groups, ids

_ANSWER = re.compile(r"the answer is ([a-z])\.")


def letter(text):
  """The letter that an answer names, "b" of "The answer is B. Because ...", or None.

  The text must start so, in any case; a point must follow the letter. Source: lupantech/ScienceQA,
  models/run_gpt3.py, read as big_vision does (from the start, without case).
  """
  match = _ANSWER.match(text.lower())
  return match and match[1]


def science_qa_accuracy(prediction, target):
  """1.0 if both name the same letter, else 0.0; a prediction that names none is wrong.

  Raises:
    ValueError: where the target names no letter: that is a fault of the config, and counting two
      failures as equal would show as 100 %.
  """
  correct = letter(target)
  if correct is None:
    raise ValueError(f"The target {target!r} is not of the form 'The answer is b.'. Have the "
                     "config write targets so: strfmt('The answer is {indexed_answer}.').")
  return float(letter(prediction) == correct)


def science_qa(predictions, targets):
  """{"accuracy", "parse_failures"}: fractions of the questions, 0..1.

  Report the second: a model that answers well in other words scores 0.

  Raises:
    ValueError: where the lists are empty or differ in length, or as `science_qa_accuracy`.
  """
  rows = ids.rows(predictions=predictions, targets=targets)
  return {"accuracy": groups.mean(science_qa_accuracy(p, t) for p, t in rows),
          "parse_failures": groups.mean(letter(p) is None for p, _ in rows)}
