"""chartqa: ChartQA, questions on charts, written by people (human) or by a model (augmented).

Masry et al., 2022. From https://huggingface.co/datasets/ahmed-masry/ChartQA the file "ChartQA
Dataset.zip" (about 1 GB), unzipped; --manual_dir is the folder "ChartQA Dataset" in it, which
holds for each of train, val and test:

  train/train_human.json   train/train_augmented.json   train/png/41699051005347.png

The release does not number the questions: question_id is the position in the file.
"""
from big_vlm.datasets import base


class ChartQa(base.Builder):
  BUILDER_CONFIGS = base.configs({"human": "questions that people wrote",
                                  "augmented": "questions made from summaries"})
  FEATURES = {"question_id": base.INT, "question": base.TEXT, "answer": base.TEXT,
              "image": base.IMAGE, "image/filename": base.TEXT}
  SPLITS = ("train", "val", "test")
  COUNTS = {"human": {"train": 7398, "val": 960, "test": 1250},
            "augmented": {"train": 20901, "val": 960, "test": 1250}}

  def records(self, raw, split):
    rows = raw.json(f"{split}/{split}_{self.builder_config.name}.json")
    return [(i, {**row, "id": i, "split": split}) for i, row in enumerate(rows)]

  def example(self, raw, record):
    name = record["imgname"]
    return {"question_id": record["id"], "question": record["query"], "answer": record["label"],
            "image": raw.image(f"{record['split']}/png/{name}"), "image/filename": name}
