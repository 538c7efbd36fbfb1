"""docvqa: DocVQA, questions on scanned pages of documents.

Mathew et al., 2021; for research. From https://rrc.cvc.uab.es/?ch=17&com=downloads (account
needed), task 1: spdocvqa_qas.zip and spdocvqa_images.tar.gz (12,767 pages, about 7 GB), each
unpacked in a folder of its name:

  spdocvqa_qas/train_v1.0_withQT.json   spdocvqa_qas/val_v1.0_withQT.json
  spdocvqa_qas/test_v1.0.json           spdocvqa_images/xnbl0037_1.png

image/filename is the name in the annotations, documents/xnbl0037_1.png. The answers of test are not
public: the lists are empty.
"""
import pathlib

from big_vlm.datasets import base


class DocVqa(base.Builder):
  FEATURES = {"question_id": base.INT, "question": base.TEXT, "answers": base.TEXTS,
              "image": base.IMAGE, "image/filename": base.TEXT}
  SPLITS = ("train", "val", "test")
  COUNTS = {"train": 39463, "val": 5349, "test": 5188}

  def records(self, raw, split):
    hidden, name = ({"answers": []}, "v1.0") if split == "test" else ({}, "v1.0_withQT")
    questions = raw.json(f"spdocvqa_qas/{split}_{name}.json")["data"]
    return [(q["questionId"], {**hidden, **q}) for q in questions]

  def example(self, raw, record):
    page = pathlib.Path(record["image"]).name
    return {"question_id": record["questionId"], "question": record["question"],
            "answers": record["answers"], "image": raw.image(f"spdocvqa_images/{page}"),
            "image/filename": record["image"]}
