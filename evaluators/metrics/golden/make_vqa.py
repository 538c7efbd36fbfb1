"""Writes vqa.json: what the official codes say of awkward questions, to hold vqa.py against.

  python make_vqa.py REFERENCES     a folder with, from GitHub:
    vqaEval.py         GT-Vision-Lab/VQA a013f004, PythonEvaluationTools/vqaEvaluation (Python 2:
                       its print statements are rewritten here, nothing else)
    m4c_evaluators.py  facebookresearch/mmf b0ffc7fb, mmf/utils

  {"texts": [[text, as the VQAv2 code cleans it, as mmf cleans it]],
   "cases": [[prediction, [[answer, annotators]], VQAv2, TextVQA, VizWiz]]}   scores in 0..1

The texts are all spellings below and the keys of the official table of contractions. The
annotators' answers are drawn at random from one family of spellings below and from others, the
prediction mostly from the same family. VizWiz is the loop of its script (one annotator left out,
answers as they are) over the official functions that clean the prediction, which are the same there
but for its apostrophes.
"""
import collections
import contextlib
import importlib.util
import io
import json
import pathlib
import random
import re
import sys
import tempfile
import types

COUNT = 900
FAMILIES = r"""
yes|Yes|YES|yes.|Yes, |"yes"|yes!|yes?
no|No.|no |none|None|0|zero|Zero.|no one|not any
two|2|Two|2.|two.|the two|(2)|2!|two 2
ten|10|10.|1 0|eleven|11
1,000|1000|1,000.|1, 000|1 000|1.000|$1,000|1,000 dogs|the 1,000-dogs|1000 dogs
3.5|3.5.|.5|0.5|5.|5|3.|3 5|35|a.b 5.
10:30|10 : 30|10:30 am|10:30 a.m.|1030|10.30|10-30|10/30
dog|a dog|the dog|The Dog.|dog!|Dog ?|dog?|(dog)|( dog )|"dog"|dogs|an dog the|[dog]|{dog}
red/blue|red / blue|red and blue|red,blue|red, blue|red blue|red-blue|red - blue|redblue|red;blue
left-hand|left hand|lefthand|left_hand|left+hand|left=hand|left<hand>|left@hand|left\hand|left`hand
dont|don't|Dont|do not|don t|dont.|a dont|don't?
couldntve|couldnt've|couldn'tve|couldn't've|couldnt 've|couldnt
im|I'm|Im|Id've|I'd've|ive|Ive|i've
somebody'd|somebodyd|somebodyd've|somebody'dve|somebody'd've|somebodyll|somebody'll
shed|she'd|shed've|she'd've|hes|he's|HES|its|it's|Its|lets|let's
nike|Nike's|nikes|nike 's|nike'|'nike'|Nike's.
usa|u.s.a.|U.S.A|u s a|u.s.|us|U.S
st louis|St. Louis|st.louis|stlouis|St. Louis, MO|st louis mo|St. John's|st john's|st johns
...|. . .|.|?|!|?!|-|an|the|a the||,
100%|100 %|100|#1|1|&|and|1+1=2|1 1 2|112
twas|'twas|oclock|o'clock|yall|y'all|yall'd've|y'all'd've|'ow's'at|ow's'at
"""
SPACES = ["new\nline", "new line", " new line ", "new\tline", "new\u00a0line", "new\u2028line",
          "new  line", "newline", "\u3000new line", "new\r\nline"]
OTHERS = ["caf\u00e9", "cafe\u0301", "\u0663.\u0664", "." * 40 + "x", "1.1. " * 35, "..1. " * 20]


def spellings():
  return [line.split("|") for line in FAMILIES.strip("\n").split("\n")] + [SPACES, OTHERS]


def questions():
  draw, families = random.Random(0), spellings()
  for i in range(COUNT):
    family = families[i % len(families)]
    pool = draw.sample(family, draw.choice([1, 2, 3, 4]))
    pool += draw.sample(draw.choice(families), draw.choice([0, 0, 1, 2]))
    given = [draw.choice(pool) for _ in range(10)]
    if draw.random() < 0.1:
      given = pool[:1] * 10
    yield draw.choice(draw.choice([family, family, family, given, draw.choice(families)])), given


def load(path, name):
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def official(folder):
  """The module vqaEval, its print statements as Python 3 has them."""
  source = (folder / "vqaEval.py").read_text()
  with tempfile.TemporaryDirectory() as out:
    path = pathlib.Path(out) / "vqaEval.py"
    path.write_text(re.sub(r'print ("[^"]*")', r"print(\1)", source))
    return load(path, "vqaEval")


def main(folder):
  cases = list(questions())
  ids = list(range(len(cases)))
  truth = types.SimpleNamespace(getQuesIds=lambda: ids, qa={
      i: {"question_type": "what", "answer_type": "other",
          "answers": [{"answer": a, "answer_id": k} for k, a in enumerate(given)]}
      for i, (_, given) in enumerate(cases)})
  said = types.SimpleNamespace(qa={i: {"answer": text} for i, (text, _) in enumerate(cases)})
  evaluation = official(folder).VQAEval(truth, said, n=12)
  with contextlib.redirect_stdout(io.StringIO()):
    evaluation.evaluate()
  mmf = load(folder / "m4c_evaluators.py", "m4c_evaluators").TextVQAAccuracyEvaluator()

  rows = []
  for i, (text, given) in enumerate(cases):
    textvqa = mmf.eval_pred_list([{"pred_answer": text, "gt_answers": given}])
    cleaned = text.replace("\n", " ").replace("\t", " ").strip()
    cleaned = evaluation.processDigitArticle(evaluation.processPunctuation(cleaned))
    hits = [a == cleaned for a in given]
    vizwiz = sum(min(1, (sum(hits) - hit) / 3) for hit in hits) / len(hits)
    scores = [round(s, 12) for s in (evaluation.evalQA[i] / 100, textvqa, vizwiz)]
    rows.append([text, sorted(collections.Counter(given).items()), *scores])
  clean = lambda text: evaluation.processDigitArticle(evaluation.processPunctuation(text))
  texts = [text for family in spellings() for text in family] + list(evaluation.contractions)
  texts = [[text, clean(text), mmf.answer_processor(text)] for text in texts]
  lines = lambda rows: ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
  (pathlib.Path(__file__).parent / "vqa.json").write_text(
      f'{{"texts":[\n{lines(texts)}\n],\n"cases":[\n{lines(rows)}\n]}}\n')
  means = [sum(row[k] for row in rows) / len(rows) for k in (2, 3, 4)]
  print(len(texts), "texts,", len(rows), "cases; mean scores", means)


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
