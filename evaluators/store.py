"""Answers to questions whose answers are secret: the file that a test server takes."""
import pathlib

from evaluators.metrics import ids
from evaluators.rows import need
from pp.names import pick

PERCENT = ()


def _list(key, name, of=lambda row_id: row_id):
  """A list of {name: id, "answer": answer}; key: the row's id, of which `of` makes the server's."""
  return key, lambda given: [{name: of(i), "answer": said} for i, said in given.items()]


def _aokvqa(name):
  return "question_id", lambda given: {str(i): {name: said} for i, said in given.items()}


# {format: (key of the row's id, {id: answer} -> what the file holds)}. A-OKVQA's server takes both
# kinds of answers in one file: join the two by question.
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


def score(rows, tokenizer, format):
  """{"examples"}: how many answers there are; none has a score. format: a row of FORMATS.

  Raises ValueError where a question lacks its id or has two answers.
  """
  del tokenizer
  submission(rows, format)
  for row in rows:
    row.update(references=[], score=None, correct=None)
  return {"examples": len(rows)}


def submission(rows, format):
  """What the server's file holds, for JSON."""
  key, make = pick(FORMATS, format, "format of a submission")
  need(rows, [key], "store")
  return make(ids.keyed(rows, key, "prediction"))
