"""Answers to questions whose true answers are secret: the file that a test server takes."""
import pathlib

from evaluators.metrics import ids
from evaluators.predictions import require_keys
from pp.names import pick

PERCENT = ()


def _list(key, name, of=lambda value: value):
  """A list of {name: id, "answer": answer}; `of` makes the server's id of a prediction's key."""
  return key, lambda given: [{name: of(i), "answer": answer} for i, answer in given.items()]


def _aokvqa(name):
  return "question_id", lambda given: {str(i): {name: answer} for i, answer in given.items()}


# {format: (key of a prediction's id, {id: answer} -> the file's JSON value)}. A-OKVQA's server
# takes both types of answers in one file: join the two by question.
FORMATS = {
    "vqav2": _list("question_id", "question_id"),
    "textvqa": _list("question_id", "question_id"),
    "stvqa": _list("question_id", "question_id"),
    "docvqa": _list("question_id", "questionId"),
    "infovqa": _list("question_id", "questionId"),
    "vizwiz": _list("image/filename", "image", lambda path: pathlib.PurePosixPath(path).name),
    "aokvqa_mc": _aokvqa("multiple_choice"),
    "aokvqa_da": _aokvqa("direct_answer"),
}


def check(format):
  pick(FORMATS, format, "format of a submission")


def score(predictions, tokenizer, format):
  """{"examples"}: the number of answers; none has a score. format: a row of FORMATS.

  Raises ValueError where a question lacks its id or has two answers.
  """
  del tokenizer
  submission(predictions, format)
  for p in predictions:
    p.update(references=[], score=None, correct=None)
  return {"examples": len(predictions)}


def submission(predictions, format):
  """The JSON value of the server's file."""
  key, make = pick(FORMATS, format, "format of a submission")
  require_keys(predictions, [key], "submission")
  return make(ids.keyed(predictions, key, "prediction"))
