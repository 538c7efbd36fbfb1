"""Writes text.json: ANLS and relaxed accuracy by the codes in use, to hold text.py against.

  python make_text.py REFERENCES    (needs editdistance 0.8.1); a folder with, from GitHub:
    bv_vqa.py, bv_chartqa.py  google-research/big_vision 0127fb6b, vqa.py and chartqa.py of
                              big_vision/evaluators/proj/paligemma/transfers
    infographicvqa_eval.py    QwenLM/Qwen-VL aa00ed04, eval_mm: the challenge's own script
    pix2struct_metrics.py     google-research/pix2struct 945f27e9, pix2struct/metrics.py

  {"anls": [[prediction, [answer], big_vision's, the challenge's]],
   "relaxed": [[prediction, target, score]]}   big_vision's and pix2struct's agree on all

big_vision's two functions get lower-case strings, as its configs ask for.
"""
import importlib.util
import json
import pathlib
import random
import sys
import tempfile
import types
from unittest import mock

STUBS = ("big_vision", "big_vision.evaluators", "big_vision.evaluators.common", "big_vision.pp",
         "big_vision.pp.tokenizer", "big_vision.utils", "pycocoevalcap", "pycocoevalcap.tokenizer",
         "pycocoevalcap.tokenizer.ptbtokenizer", "pycocoevalcap.cider", "pycocoevalcap.cider.cider")
WORDS = ["", "a", "ab", "ad", "AB", "abc", "abcd", "abxy", "axyz", "Total", "total sales",
         "total  sales", " total sales ", "TOTAL SALE", "12/03/1998", "12-03-1998", "$1,000",
         "1000", "1,000.00", "5%", "the quick brown fox", "the quick brown dog",
         "the slow brown dog", "caf\u00e9", "cafe\u0301", "\u4e2d\u6587", "\u4e2d\u6587\u5b57",
         "a\u2028b", "a b", "a\nb", "Stra\u00dfe", "STRASSE", "\u0130stanbul", "istanbul"]
NUMBERS = ["0", "0.0", "-0", "10", "10.4", "10.5", "10.6", "9.5", "9.49", "-10", "-10.4", "10%",
           "0.1", "0.105", "10.5%", "50%%", "100%", "1", "1.05", "1.06", "2019", "2000", "1,000",
           "1000", "$10", "10 ", " 10", "1e1", "1_0", "inf", "-inf", "nan", "Infinity", "infinity",
           "NaN", "ten", "Yes", "yes", "YES", "no", "", "%", "12", "12%", "0.12", "104.9", "105.1",
           "100", "95", "94.9", "Stra\u00dfe", "\u0661\u0660", "0%", "10.50", ".5", "5e-1", "+10",
           "--10", "10\u00a0"]


def load(path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def challenge(script, cases):
  """The challenge's score of each (prediction, answers), through its files."""
  truth = {"data": [{"questionId": i, "question": "", "answers": answers}
                    for i, (_, answers) in enumerate(cases)]}
  said = [{"questionId": i, "answer": text} for i, (text, _) in enumerate(cases)]
  with tempfile.TemporaryDirectory() as out:
    paths = [pathlib.Path(out) / name for name in ("truth.json", "said.json")]
    for path, value in zip(paths, (truth, said)):
      path.write_text(json.dumps(value))
    options = types.SimpleNamespace(answer_types=False, anls_threshold=0.5)
    result = script.evaluate_method(*paths, options)["per_sample_result"]
  return [result[str(i)]["score"] for i in range(len(cases))]


def questions():
  draw = random.Random(0)
  letters = lambda n: "".join(draw.choice("abAB ") for _ in range(n))
  for said in WORDS:
    yield from ((said, [word]) for word in draw.sample(WORDS, 8))
  for _ in range(200):
    said = letters(draw.randint(0, 9))
    yield said, [letters(draw.randint(0, 9)) for _ in range(draw.randint(1, 4))]
  yield from ((word, [word]) for word in WORDS)
  yield "ad", ["ab"]


def main(folder):
  with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in STUBS}):
    vqa, chartqa = load(folder / "bv_vqa.py"), load(folder / "bv_chartqa.py")
    pix2struct = load(folder / "pix2struct_metrics.py")
  cases = list(questions())
  server = challenge(load(folder / "infographicvqa_eval.py"), cases)
  anls = [[said, answers, round(max(vqa.anls_metric(a.lower(), said.lower()) for a in answers), 12),
           round(score, 12)] for (said, answers), score in zip(cases, server)]

  draw, relaxed = random.Random(1), []
  for said in NUMBERS:
    for target in [said, *draw.sample(NUMBERS, 10), "10", "0.1", "100"]:
      score = float(chartqa._relaxed_match(target.lower(), said.lower()))
      assert score == float(pix2struct.relaxed_correctness(target, said)), (said, target)
      relaxed.append([said, target, score])

  part = lambda name, rows: f'"{name}":[\n' + ",\n".join(
      json.dumps(row, separators=(",", ":")) for row in rows) + "\n]"
  text = "{" + part("anls", anls) + ",\n" + part("relaxed", relaxed) + "}\n"
  (pathlib.Path(__file__).parent / "text.json").write_text(text)
  print(len(anls), "ANLS,", len(relaxed), "relaxed; they differ in",
        sum(a[2] != a[3] for a in anls), "ANLS;", sum(r[2] for r in relaxed), "relaxed are right")


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
