"""aokvqa: A-OKVQA, questions on COCO photographs that require knowledge and reasoning.

Schwenk et al., 2022. From https://allenai.org/project/a-okvqa/home: aokvqa_v1p0.tar.gz (about
20 MB); from https://cocodataset.org/#download the images of 2017, train (18 GB), val (1 GB) and
test (6 GB), unzipped beside its files:

  aokvqa_v1p0_train.json   aokvqa_v1p0_val.json   aokvqa_v1p0_test.json
  train2017/000000000009.jpg   val2017/000000000139.jpg   test2017/000000000001.jpg

Answers and rationales of test are not public: the lists are empty and the correct choice is -1.
"""
from big_vlm.datasets import base

HIDDEN = dict(direct_answers=[], correct_choice_idx=-1, rationales=[])


class AOkVqa(base.Builder):
  FEATURES = dict(
      image=base.IMAGE, image_id=base.INT, question_id=base.TEXT, question=base.TEXT,
      direct_answers=base.TEXTS, direct_answer_is_difficult=base.BOOL,
      multiple_choice_possible_answers=base.TEXTS, multiple_choice_correct_idx=base.INT,
      answer_rationales=base.TEXTS)
  SPLITS = ("train", "val", "test")
  COUNTS = {"train": 17056, "val": 1145, "test": 6702}

  def records(self, raw, split):
    hidden = HIDDEN if split == "test" else {}
    return [(q["question_id"], {**hidden, **q, "folder": f"{split}2017"})
            for q in raw.json(f"aokvqa_v1p0_{split}.json")]

  def example(self, raw, record):
    image_id = record["image_id"]
    return dict(
        image=raw.image(f"{record['folder']}/{image_id:012d}.jpg"), image_id=image_id,
        question_id=record["question_id"], question=record["question"],
        direct_answers=record["direct_answers"],
        direct_answer_is_difficult=record["difficult_direct_answer"],
        multiple_choice_possible_answers=record["choices"],
        multiple_choice_correct_idx=record["correct_choice_idx"],
        answer_rationales=record["rationales"])
