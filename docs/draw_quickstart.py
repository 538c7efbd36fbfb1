"""Draws docs/quickstart.png: python -m docs.draw_quickstart workdirs/quickstart

It shows what the model of `make quickstart` says about scenes of handwriting that no training has
seen: the boxes of "detect" and the answer to "caption sv".
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


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("source", help="what big_vlm.from_preset takes")
  vlm = big_vlm.from_preset(parser.parse_args(argv).source)
  config = next(c for c in digits.Digits.BUILDER_CONFIGS if c.name == "swedish")
  scenes = list(digits.scenes(config, "test", SCENES))
  images = [scene["image"] for scene in scenes]
  digit = [" ; ".join(dict.fromkeys(scene["ocr"])) for scene in scenes]
  boxes = vlm.generate([f"detect {names}" for names in digit], images)
  captions = vlm.generate(["caption sv"] * SCENES, images)
  drawn = [overlay.draw(image, vlm.detections(found, image), f"caption sv\n{caption.text}")
           for image, found, caption in zip(images, boxes, captions)]
  height = round(SIDE * drawn[0].height / drawn[0].width)
  drawn = [np.asarray(page.resize((SIDE, height), Image.Resampling.LANCZOS)) for page in drawn]
  rows = [np.concatenate(drawn[i:i + IN_A_ROW], 1) for i in range(0, SCENES, IN_A_ROW)]
  Image.fromarray(np.concatenate(rows)).quantize(128).save(FOLDER / "quickstart.png", optimize=True)


if __name__ == "__main__":
  cli.run(main)
