"""ocrvqa: OCR-VQA, questions on book covers, for title, author, genre and year.

Mishra et al., 2019. From https://ocr-vqa.github.io/ the file dataset.json (207,572 covers, a
million questions) and the images (about 9 GB), which its loadDataset.py downloads. The name of an
image is the id of its book and the suffix of its URL:

  dataset.json   images/761183272.jpg

int_id is the number of the question in dataset.json, over all splits.
"""
import os.path

from big_vlm.datasets import base

NUMBERS = {"train": 1, "val": 2, "test": 3}  # of the splits, in dataset.json


class OcrVqa(base.Builder):
  FEATURES = dict(image=base.IMAGE, image_id=base.TEXT, int_id=base.INT, question=base.TEXT,
                  answer=base.TEXT)
  SPLITS = tuple(NUMBERS)

  def records(self, raw, split):
    found, count = [], 0
    for image_id, book in raw.json("dataset.json").items():
      pairs = list(zip(book["questions"], book["answers"]))
      if book["split"] == NUMBERS[split]:
        file = f"images/{image_id}{os.path.splitext(book['imageURL'])[1]}"
        found += [(f"{image_id}_{i}", {"image_id": image_id, "file": file, "int_id": count + i,
                                       "question": question, "answer": answer})
                  for i, (question, answer) in enumerate(pairs)]
      count += len(pairs)
    return found

  def example(self, raw, record):
    return dict(image=raw.image(record["file"]),
                **{key: record[key] for key in ("image_id", "int_id", "question", "answer")})
