"""Writes reports.json: the F1 of the radgraph package between made-up annotations.

  python make_reports.py REFERENCES     a folder with
    radgraph_rewards.py   radgraph/rewards.py of radgraph 0.1.18 on PyPI

  {"cases": [[annotation, annotation, RG_E, RG_ER, RG_ER-bar]]}   scores in 0..1
"""
import importlib.util
import json
import pathlib
import random
import sys

CASES = 60
WORDS = ["lungs", "Lungs", "clear", "effusion", "right", "small", "pneumothorax"]
LABELS = ["Anatomy::definitely present", "Observation::definitely absent"]


def annotation(draw):
  count = draw.randint(0, 6)
  entities = {str(i): {"tokens": draw.choice(WORDS), "label": draw.choice(LABELS), "relations": []}
              for i in range(1, count + 1)}
  for entity in entities.values():
    if draw.random() < 0.5:
      entity["relations"] = [[draw.choice(["modify", "located_at"]), draw.choice(list(entities))]
                             for _ in range(draw.randint(1, 2))]
  return {"entities": entities}


def misread(source, draw):
  copy = json.loads(json.dumps(source))
  for entity in copy["entities"].values():
    if draw.random() < 0.3:
      entity[draw.choice(["tokens", "label"])] = draw.choice(WORDS)
    if draw.random() < 0.3:
      entity["relations"] = entity["relations"][:1]
    if draw.random() < 0.1:
      entity["relations"] = []
  return copy


def main(folder):
  spec = importlib.util.spec_from_file_location("rewards", folder / "radgraph_rewards.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  draw, cases = random.Random(0), []
  for _ in range(CASES):
    right = annotation(draw)
    said = misread(right, draw) if draw.random() < 0.8 else annotation(draw)
    cases.append([said, right, *(round(x, 12) for x in module.compute_reward(said, right, "all"))])
  lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
  (pathlib.Path(__file__).parent / "reports.json").write_text(f'{{"cases":[\n{lines}\n]}}\n')
  print(len(cases), "pairs; means", [sum(c[k] for c in cases) / len(cases) for k in (2, 3, 4)])


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
