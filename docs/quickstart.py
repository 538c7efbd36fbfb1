"""Draws docs/quickstart.png and docs/colours.png: python -m docs.quickstart workdirs/quickstart

The first shows what the model of `make quickstart` says about scenes that no training has seen,
with the boxes that it draws and its answer to the first question; the second is one of them.
"""
import pathlib

import numpy as np
from PIL import Image

import big_vlm
from big_vlm import cli
from big_vlm.datasets import digits
from tools import overlay

FOLDER = pathlib.Path(__file__).parent
SCENES, IN_A_ROW, SIDE = 8, 4, 256  # pixels of a drawn scene
ONE = 6  # the scene that docs/colours.png shows


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("source", help="what big_vlm.from_preset takes")
  vlm = big_vlm.from_preset(parser.parse_args(argv).source)
  config = next(c for c in digits.Digits.BUILDER_CONFIGS if c.name == "colours")
  scenes = list(digits.scenes(config, "test", SCENES))
  images = [scene["image"] for scene in scenes]
  colours = [" ; ".join(dict.fromkeys(o["label"] for o in scene["objects"])) for scene in scenes]
  questions = [scene["questions"][0] for scene in scenes]
  boxes = vlm.generate([f"detect {names}" for names in colours], images)
  answers = vlm.generate([f"answer en {question}" for question in questions], images)
  drawn = [overlay.draw(image, vlm.detections(found, image), f"{question}\n{answer.text}")
           for image, found, question, answer in zip(images, boxes, questions, answers)]
  height = round(SIDE * drawn[0].height / drawn[0].width)
  drawn = [np.asarray(page.resize((SIDE, height), Image.Resampling.LANCZOS)) for page in drawn]
  rows = [np.concatenate(drawn[i:i + IN_A_ROW], 1) for i in range(0, SCENES, IN_A_ROW)]
  Image.fromarray(np.concatenate(rows)).quantize(128).save(FOLDER / "quickstart.png", optimize=True)
  Image.fromarray(images[ONE]).save(FOLDER / "colours.png")


if __name__ == "__main__":
  cli.run(main)
