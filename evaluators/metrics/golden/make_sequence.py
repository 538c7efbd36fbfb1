"""Writes sequence.json: error rates of the Sheet Music Transformer's code on made-up scores.

  python make_sequence.py REFERENCES     a folder with, from antoniorv6/SMT afcdefdf on GitHub:
    smt_eval_functions.py   eval_functions.py
    smt_utils.py            utils.py

  {"cases": [[[prediction], [target], CER, SER, LER]]}   a corpus each, rates in per cent
"""
import importlib.util
import json
import pathlib
import random
import sys
from unittest import mock

CORPORA = 60
TOKENS = ["4c", "8dd#L", "16BB-J", "2.r", ".", "*", "*clefG2", "*k[b-e-]", "*M4/4", "=", "=1", "==",
          "4c 4e 4g", "8c@L", "4\u00b7c", "[2a", "2a]", "8ee-\u00b7L@", "*^", "*v", "**kern", "*-"]


def load(path, name):
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def score(draw):
  lines = ["\t".join(draw.choices(TOKENS, k=draw.randint(1, 3))) for _ in range(draw.randint(0, 7))]
  return "\n".join(lines) + draw.choice(["", "\n"])


def misread(text, draw):
  """The text with some characters, words and lines changed, or another altogether."""
  if draw.random() < 0.08:
    return draw.choice(["", score(draw), text[: len(text) // 2], " ", "a\u2028b", "\t\n"])
  for _ in range(draw.randint(0, 5)):
    place, what = draw.randint(0, len(text)), draw.random()
    if what < 0.4:
      text = text[:place] + draw.choice(["\n", "\t", " ", "4", "#", "8dd"]) + text[place:]
    elif what < 0.7:
      text = text[:place] + text[place + draw.choice([1, 1, 2, 9]):]
    else:
      text = text.replace(draw.choice(TOKENS), draw.choice(TOKENS), 1)
  return text


def main(folder):
  with mock.patch.dict(sys.modules, {"loguru": mock.MagicMock()}):
    utils = load(folder / "smt_utils.py", "utils")
  with mock.patch.dict(sys.modules, {"utils": utils}):
    reference = load(folder / "smt_eval_functions.py", "smt_eval_functions")
  draw, cases = random.Random(0), []
  for _ in range(CORPORA):
    right = [score(draw) for _ in range(draw.choice([1, 1, 2, 4]))]
    right[0] = right[0] or "4c"  # a corpus without a character has no rate
    said = [misread(text, draw) for text in right]
    rates = reference.compute_poliphony_metrics(said, right)
    cases.append([said, right, *(round(rate, 10) for rate in rates)])
  lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
  (pathlib.Path(__file__).parent / "sequence.json").write_text(f'{{"cases":[\n{lines}\n]}}\n')
  print(len(cases), "corpora of", sum(len(c[0]) for c in cases), "scores")


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
