"""Writes answers.json: what the scripts of POPE, A-OKVQA and NLVR2 say of random answers.

  python make_answers.py REFERENCES     a folder with, from GitHub:
    pope_evaluate.py    AoiDragon/POPE 08d957b9, evaluate.py
    aokvqa_eval.py      allenai/aokvqa 83786de0, evaluation/eval_predictions.py
    nlvr2_metrics.py    lil-lab/nlvr 18924841, nlvr2/eval/metrics.py

  {"pope": [[[prediction], [target], accuracy, precision, recall, f1, yes ratio]],
   "aokvqa": [[[prediction], [[choice]], [right], [[answer]], [difficult], MC, DA]],
   "nlvr2": [[[prediction], [target], [identifier], accuracy, consistency]]}   scores in 0..1

pope_evaluate.py names its files in its first lines; a copy with other names is run, and what it
prints is read. NLVR2's is run as it is. The strict mode of A-OKVQA's is off, as in its own main.
"""
import contextlib
import importlib.util
import io
import json
import pathlib
import random
import runpy
import sys
import tempfile
from unittest import mock

SETS = 60


def printed(path, *arguments):
  """{name: number} of the "name: number" and "name=number" lines that a script prints."""
  out = io.StringIO()
  with mock.patch.object(sys, "argv", [str(path), *map(str, arguments)]):
    with contextlib.redirect_stdout(out):
      runpy.run_path(str(path), run_name="__main__")
  pairs = [line.replace("=", ": ").split(": ") for line in out.getvalue().split("\n")]
  return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2}


def write_lines(path, rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def pope(script, draw, out):
  texts = ["yes", "Yes", "YES", "no", "No", "NO", "no.", "Yes.", "", "nope", "not sure",
           "no, never", "There is no dog. Yes", "yes, no", "knot", "Not here",
           "no\nno", "no\u2028", "  no  "]
  for _ in range(SETS):
    said = ["yes", *draw.choices(texts, k=draw.randint(1, 30))]  # the script divides by its yeses
    right = ["yes", *draw.choices(["yes", "no"], k=len(said) - 1)]
    write_lines(out / "said.json", [{"answer": text} for text in said])
    write_lines(out / "right.json", [{"label": text} for text in right])
    source = script.read_text()
    for name, file in (("ans_file", "said.json"), ("label_file", "right.json")):
      source = source.replace(f"{name} = ''", f"{name} = {str(out / file)!r}")
    (out / "evaluate.py").write_text(source)
    got = printed(out / "evaluate.py")
    figures = [got[n] for n in ("Accuracy", "Precision", "Recall", "F1 score", "Yes ratio")]
    yield [said, right, *(round(x, 12) for x in figures)]


def aokvqa(script, draw):
  with mock.patch.dict(sys.modules, {"load_aokvqa": mock.MagicMock()}):
    spec = importlib.util.spec_from_file_location("aokvqa_eval", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
  words = ["cat", "dog", "Dog", "rain coat", "raincoat", "train", "umbrella", "it's", "2", "two"]
  for _ in range(SETS):
    data, said = [], {}
    for i in range(draw.randint(1, 12)):
      data.append({"question_id": str(i), "choices": draw.sample(words, 4),
                   "correct_choice_idx": draw.randrange(4),
                   "direct_answers": draw.choices(draw.sample(words, 3), k=10),
                   "difficult_direct_answer": bool(i) and draw.random() < 0.3})
      said[str(i)] = draw.choice(data[-1]["choices"] + data[-1]["direct_answers"])
    mc, da = (module.eval_aokvqa(data, said, multiple_choice=mode, strict=False) / 100
              for mode in (True, False))
    columns = [[row[key] for row in data] for key in (
        "choices", "correct_choice_idx", "direct_answers", "difficult_direct_answer")]
    yield [list(said.values()), *columns, round(mc, 12), round(da, 12)]


def nlvr2(script, draw, out):
  for _ in range(SETS):
    names = [f"test1-{s}-{p}-{k}" for s in range(3) for p in range(3) for k in range(2)]
    names = draw.sample(names, draw.randint(1, 14))
    right = draw.choices(["True", "False"], k=len(names))
    said = [draw.choice([r, r, r, r.lower(), "True", "False", "maybe"]) for r in right]
    (out / "said.csv").write_text("".join(f"{n},{s}\n" for n, s in zip(names, said)))
    write_lines(out / "right.json", [{"identifier": n, "label": r} for n, r in zip(names, right)])
    got = printed(script, out / "said.csv", out / "right.json")
    yield [said, right, names, round(got["accuracy"], 12), round(got["consistency"], 12)]


def main(folder):
  draw = random.Random(0)
  with tempfile.TemporaryDirectory() as name:
    out = pathlib.Path(name)
    parts = {"pope": list(pope(folder / "pope_evaluate.py", draw, out)),
             "aokvqa": list(aokvqa(folder / "aokvqa_eval.py", draw)),
             "nlvr2": list(nlvr2(folder / "nlvr2_metrics.py", draw, out))}
  lines = lambda rows: ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
  text = ",\n".join(f'"{key}":[\n{lines(rows)}\n]' for key, rows in parts.items())
  (pathlib.Path(__file__).parent / "answers.json").write_text("{" + text + "}\n")
  print({key: len(rows) for key, rows in parts.items()})


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
