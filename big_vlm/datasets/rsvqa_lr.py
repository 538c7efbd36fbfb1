"""rsvqa_lr: RSVQA-LR, questions on satellite images of 10 m per pixel, with answers from a map.

Lobry et al., 2020. From https://zenodo.org/records/6344334 (200 MB) the questions and answers of
the splits train, val and test, and Images_LR.zip, unzipped:

  LR_split_train_questions.json   LR_split_train_answers.json   ... LR_split_test_answers.json
  Images_LR/0.tif

Config "nonum" leaves out the questions for a count, as the published transfer does; "all" keeps
them. Counts in `answers` are binned, as in the paper; `raw_answers` has them unchanged. The images
are stored as PNG.
"""
import functools

from PIL import Image

from big_vlm.datasets import base, rsvqa_hr


class RsvqaLr(rsvqa_hr.RsvqaHr):
  SPLITS = ("train", "val", "test")
  COUNTS = {"all": {"train": 57_223, "val": 10_005, "test": 10_004},
            "nonum": {"train": 39_441, "val": 6_782, "test": 6_782}}
  PREFIX = "LR_split"
  FILENAME = "Images_LR/{}.tif"
  NUMERIC = ("count",)
  BINNED, UNIT = "count", ""

  def image(self, raw, name):
    return _png(raw.path(name))


@functools.lru_cache(maxsize=1024)  # each of the 772 images has 100 questions
def _png(path):
  with Image.open(path, formats=base.FORMATS) as image:
    return base.png(image.convert("RGB"))
