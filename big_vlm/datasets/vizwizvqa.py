"""vizwizvqa: VizWiz-VQA, questions of blind people about their own photographs.

Gurari et al., 2018; CC BY 4.0. From https://vizwiz.org/tasks-and-datasets/vqa/: train.zip, val.zip,
test.zip (32,842 photographs, about 17 GB) and Annotations.zip (4 MB), the last unzipped in
annotations, the others beside it:

  annotations/train.json   annotations/val.json   annotations/test.json
  train/VizWiz_train_00000000.jpg   val/VizWiz_val_00000000.jpg   test/VizWiz_test_00000000.jpg

The builder drops empty answers and their confidences. The answers of test are not public: the lists
are empty and answerable is -1.
"""
from big_vlm.datasets import base

HIDDEN = dict(answers=[], answerable=-1)


class VizWizVqa(base.Builder):
  FEATURES = {"question": base.TEXT, "image/filename": base.TEXT, "image": base.IMAGE,
              "answers": base.TEXTS, "answer_confidences": base.TEXTS, "answerable": base.INT,
              "question_id": base.INT}
  SPLITS = ("train", "val", "test")
  COUNTS = {"train": 20523, "val": 4319, "test": 8000}

  def records(self, raw, split):
    hidden = HIDDEN if split == "test" else {}
    return [(q["image"], {**q, **hidden, "folder": split})
            for q in raw.json(f"annotations/{split}.json")]

  def example(self, raw, record):
    name = record["image"]
    answers = [answer for answer in record["answers"] if answer["answer"]]
    return {"question": record["question"], "image/filename": name,
            "image": raw.image(f"{record['folder']}/{name}"),
            "answers": [answer["answer"] for answer in answers],
            "answer_confidences": [answer["answer_confidence"] for answer in answers],
            "answerable": record["answerable"],
            "question_id": int(name.removesuffix(".jpg").split("_")[-1])}
