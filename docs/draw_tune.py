"""Draws docs/tune.png and docs/tune_ap.png: python -m docs.draw_tune RUN [RUN ...]

Each RUN is a workdir of trainers.tune over configs/tune/detect.py. tune.png shows the first four
scenes of the test split to which `digits` and the first run give other boxes, which may be better
or worse: before above, after below. tune_ap.png is the AP of the val split over the steps.
"""
import itertools
import json
import pathlib

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import big_vlm
from big_vlm import cli, metric_writer
from big_vlm.datasets import digits
from tools import overlay

FOLDER = pathlib.Path(__file__).parent
SHOWN, SIDE = 4, 256  # scenes; pixels of a drawn one


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("runs", nargs="+", metavar="RUN", help="workdir of trainers.tune")
  runs = parser.parse_args(argv).runs
  models = [big_vlm.from_preset(source) for source in ("digits", runs[0])]
  config = next(c for c in digits.Digits.BUILDER_CONFIGS if c.name == "small")
  columns = (compare(models, scene) for scene in digits.scenes(config, "test", 100))
  columns = itertools.islice((page for page in columns if page is not None), SHOWN)
  Image.fromarray(np.concatenate(list(columns), 1)).quantize(128).save(
      FOLDER / "tune.png", optimize=True)
  curves(runs)


def compare(models, scene):
  """A column of the picture; None where the models' boxes are the same."""
  image = scene["image"]
  asked = "detect " + " ; ".join(dict.fromkeys(scene["ocr"]))
  answers = [vlm.generate(asked, image)[0] for vlm in models]
  if answers[0].text == answers[1].text:
    return None
  pages = [overlay.draw(image, vlm.detections(answer, image), f"{when}\n{asked}")
           for vlm, answer, when in zip(models, answers, ("before", "after"))]
  height = round(SIDE * max(page.height / page.width for page in pages))
  return np.concatenate([np.asarray(page.resize((SIDE, height), Image.Resampling.LANCZOS))
                         for page in pages])


def curves(runs):
  figure = Figure(figsize=(5, 3), layout="constrained")
  axes = figure.subplots()
  for run in runs:
    seed = json.loads((pathlib.Path(run) / "config.json").read_text())["seed"]
    rows = metric_writer.read_metrics(pathlib.Path(run) / "metrics.jsonl")
    points = [(row["step"], 100 * row["val/AP"]) for row in rows if "val/AP" in row]
    axes.plot(*zip(*points), marker="o", markersize=3, linewidth=1.4, label=f"seed {seed}")
  axes.set(xlabel="step", ylabel="AP of val, %")
  axes.grid(alpha=0.3)
  axes.spines[["top", "right"]].set_visible(False)
  axes.legend()
  figure.savefig(FOLDER / "tune_ap.png", dpi=130)


if __name__ == "__main__":
  cli.run(main)
