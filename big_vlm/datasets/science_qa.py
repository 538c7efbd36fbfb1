"""science_qa: ScienceQA, the multiple-choice school questions that have an image.

Lu et al., 2022. From https://github.com/lupantech/ScienceQA data/scienceqa/problems.json (30 MB)
and, by tools/download.sh, train.zip, val.zip and test.zip (about 650 MB), unzipped beside it; for
use without profit (CC BY-NC-SA 4.0):

  problems.json   train/1/image.png   val/5/image.png   test/11/image.png

An empty hint becomes "N/A", as in the release's own prompts.
"""
import string

from big_vlm.datasets import base

COPIED = ("question", "choices", "answer", "task", "grade", "subject", "topic", "category", "skill",
          "lecture", "solution")


class ScienceQa(base.Builder):
  FEATURES = {**dict.fromkeys(COPIED, base.TEXT), "choices": base.TEXTS, "answer": base.INT,
              "hint": base.TEXT, "indexed_choices": base.TEXT, "indexed_answer": base.TEXT,
              "image": base.IMAGE}
  SPLITS = ("train", "val", "test")
  COUNTS = {"train": 6_218, "val": 2_097, "test": 2_017}

  def records(self, raw, split):
    return [(int(number), {**problem, "file": f"{split}/{number}/{problem['image']}"})
            for number, problem in raw.json("problems.json").items()
            if problem["split"] == split and problem["image"]]

  def example(self, raw, record):
    letters = string.ascii_uppercase
    return dict(
        {key: record[key] for key in COPIED}, hint=record["hint"] or "N/A",
        indexed_choices=", ".join(
            f"({letter}) {choice}" for letter, choice in zip(letters, record["choices"])),
        indexed_answer=letters[record["answer"]], image=raw.image(record["file"]))
