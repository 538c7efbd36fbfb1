"""Makes spotting.json: counts and scores of HierText's evaluator, words end to end.

  pip install absl-py six shapely==2.2.0 numpy
  python evaluators/metrics/golden/make_spotting.py hiertext

hiertext: google-research-datasets/hiertext 70b6620, of which the folder evaluator is used.

  {"images": [[[height, width], [[polygon, text, legible]], [[polygon, text]],
               [predicted, truth, found, read]]], "scores": {name: value of the whole set}}
"""
import collections
import json
import pathlib
import sys

import numpy as np

OUT = pathlib.Path(__file__).with_name("spotting.json")
WORDS = ["Exit", "EXIT", "No.", "No", "12", "é", "東京", "a;b", "", "don't"]


def main(hiertext):
  sys.path.insert(0, hiertext)
  from evaluator import evaluator
  judge = evaluator.HierTextEvaluator(text_box_type=evaluator.TextBoxRep.POLY, evaluate_text=True)
  rng = np.random.default_rng(3)
  images, total = [], collections.Counter()
  for _ in range(80):
    size = rng.integers(150, 400, 2)
    truth = [(polygon(rng, size), str(rng.choice(WORDS)), bool(rng.random() < .75))
             for _ in range(rng.integers(0, 9))]
    if truth and rng.random() < .3:  # two words for one prediction
      corners, text, _ = truth[0]
      truth.append(((np.array(corners) + [2, 1]).tolist(), text, True))
    predicted = []
    for corners, text, _ in truth:
      for _ in range(rng.choice([0, 1, 1, 1, 2])):
        near = np.array(corners) + rng.integers(-4, 5, 2)
        if rng.random() < .5:  # the upright box around it
          (x0, y0), (x1, y1) = near.min(0), near.max(0)
          near = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        predicted.append((near.tolist(), text if rng.random() < .8 else str(rng.choice(WORDS))))
    predicted += [(polygon(rng, size), "x") for _ in range(rng.integers(0, 3))]
    if rng.random() < .2:  # IoU of exactly one half
      truth.append(([[0, 0], [40, 0], [40, 10], [0, 10]], "half", True))
      predicted.append(([[0, 0], [20, 0], [20, 10], [0, 10]], "half"))
    counts = judge.evaluate_one_image({
        "gt_boxes": [np.array(p) for p, *_ in truth],
        "gt_texts": np.array([t for _, t, _ in truth], dtype=str),
        "gt_weights": np.array([float(legible) for *_, legible in truth]),
        "detection_boxes": [np.array(p) for p, _ in predicted],
        "pred_texts": np.array([t for _, t in predicted], dtype=str)})
    total.update(counts)
    images.append([size.tolist(), truth, predicted, [int(counts[name]) for name in (
        "num_prediction", "num_groundtruth", "tp_det_cnt", "tp_e2e_cnt")]])
  scores = {name: float(value) for name, value in judge.evaluate(total).items()}
  OUT.write_text('{"images":[\n' + ",\n".join(
      json.dumps(i, ensure_ascii=False, separators=(",", ":")) for i in images)
      + '],\n"scores":' + json.dumps(scores) + "}\n")


def polygon(rng, size):
  """A box, a quadrilateral, or a bent strip of 8 corners, as [[x, y]] in whole pixels."""
  height, width = size
  x, y = rng.integers(0, width - 70), rng.integers(0, height - 60)
  w, h = rng.integers(12, 70), rng.integers(6, 30)
  kind = rng.integers(3)
  if kind < 2:
    corners = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)])
    corners += rng.integers(-3, 4, (4, 2)) * kind
  else:
    xs = np.linspace(x, x + w, 4)
    ys = y + np.sin(np.linspace(0, 3, 4)) * 15
    corners = np.concatenate([np.stack([xs, ys], 1), np.stack([xs, ys + h], 1)[::-1]])
  return corners.astype(int).tolist()


if __name__ == "__main__":
  main(sys.argv[1])
