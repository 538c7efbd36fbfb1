"""countbenchqa: CountBenchQA, questions for the number of objects (2 to 10) in images of the web.

Paiss et al., 2023 (images and captions); Beyer et al., 2024 (questions). From
https://huggingface.co/datasets/nielsr/countbench the one file of data/ (23 MB); from
https://github.com/google-research/big_vision, folder big_vision/datasets/countbenchqa/data, the
questions:

  train-00000-of-00001-cf54c241ba947306.parquet   countbench_paired_questions.json

49 of the 540 rows have no image, and one image has a single channel: as in PaliGemma's evaluation,
the split leaves them out. Its name is the source of the images.
"""
import io

import pyarrow.parquet
from PIL import Image

from big_vlm.datasets import base


class CountBenchQa(base.Builder):
  FEATURES = dict(image=base.IMAGE, image_id=base.INT, question=base.TEXT, text=base.TEXT,
                  image_url=base.TEXT, number=base.INT)
  SPLITS = ("huggingface",)
  COUNTS = {"huggingface": 490}

  def records(self, raw, split):
    rows = pyarrow.parquet.read_table(
        raw.path("train-00000-of-00001-cf54c241ba947306.parquet")).to_pylist()
    questions = raw.json("countbench_paired_questions.json")
    if len(rows) != len(questions):
      raise ValueError(f"countbenchqa: {raw.folder} has {len(questions)} questions for "
                       f"{len(rows)} images; each row needs both.")
    return [(i, {**row, **question, "id": i})
            for i, (row, question) in enumerate(zip(rows, questions))
            if row["image"] and len(Image.open(
                io.BytesIO(row["image"]["bytes"]), formats=base.FORMATS).getbands()) > 1]

  def example(self, raw, record):
    return dict(image=record["image"]["bytes"], image_id=record["id"],
                question=record["question"], text=record["text"], image_url=record["image_url"],
                number=record["number"])
