"""tallyqa: TallyQA, counting questions on photographs, simple ones and complex ones.

Acharya et al., 2019. From https://github.com/manoja328/tallyqa: tallyqa.zip, unzipped; from
https://homes.cs.washington.edu/~ranjay/visualgenome/api.html the images of Visual Genome 1.2, two
parts (9 and 5 GB); from https://cocodataset.org/#download those of COCO 2014, train (13 GB) and val
(6 GB), all unzipped beside its files:

  train.json   test.json
  VG_100K/2.jpg   VG_100K_2/1.jpg
  train2014/COCO_train2014_000000000009.jpg   val2014/COCO_val2014_000000000042.jpg

issimple is 1 for simple and 0 for complex questions of test; train does not have it, and has -1.
"""
from big_vlm.datasets import base


class TallyQa(base.Builder):
  FEATURES = dict(
      image=base.IMAGE, image_id=base.INT, image_source=base.TEXT, question=base.TEXT,
      question_id=base.INT, answer=base.INT, issimple=base.INT)
  SPLITS = ("train", "test")
  COUNTS = {"train": 249318, "test": 38589}

  def records(self, raw, split):
    unknown = {"issimple": -1} if split == "train" else {}
    return [(f"{q['image_id']} / {q['question_id']}", {**q, **unknown})
            for q in raw.json(f"{split}.json")]

  def example(self, raw, record):
    return dict(
        image=raw.image(record["image"]), image_id=record["image_id"],
        image_source=record["data_source"], question=record["question"],
        question_id=record["question_id"], answer=int(record["answer"]),
        issimple=int(record["issimple"]))
