"""okvqa: OK-VQA, questions on COCO photographs that require outside knowledge.

Marino et al., 2019. From https://okvqa.allenai.org/download.html the questions and annotations of
train and val (13 MB unzipped), from https://cocodataset.org/#download the images of 2014, train
(13 GB) and val (6 GB), unzipped beside them:

  OpenEnded_mscoco_train2014_questions.json   mscoco_train2014_annotations.json
  OpenEnded_mscoco_val2014_questions.json     mscoco_val2014_annotations.json
  train2014/COCO_train2014_000000000009.jpg   val2014/COCO_val2014_000000000042.jpg
"""
from big_vlm.datasets import base


class OkVqa(base.Builder):
  FEATURES = dict(
      image=base.IMAGE, image_id=base.INT, question_id=base.INT, question=base.TEXT,
      question_type=base.TEXT, question_type_readable=base.TEXT, answer_type=base.TEXT,
      answers=base.TEXTS, answers_raw=base.TEXTS,
      answers_confidence=base.f.Sequence(base.BOOL))
  SPLITS = ("train", "val")
  COUNTS = {"train": 9009, "val": 5046}

  def records(self, raw, split):
    annotations = raw.json(f"mscoco_{split}2014_annotations.json")
    types = annotations["question_types"]
    answers = {a["question_id"]: a for a in annotations["annotations"]}
    questions = raw.json(f"OpenEnded_mscoco_{split}2014_questions.json")["questions"]
    return [(q["question_id"], {**answers[q["question_id"]], **q, "types": types,
                                "folder": f"{split}2014"}) for q in questions]

  def example(self, raw, record):
    folder, image_id = record["folder"], record["image_id"]
    return dict(
        image=raw.image(f"{folder}/COCO_{folder}_{image_id:012d}.jpg"), image_id=image_id,
        question_id=record["question_id"], question=record["question"],
        question_type=record["question_type"],
        question_type_readable=record["types"][record["question_type"]],
        answer_type=record["answer_type"],
        answers=[a["answer"] for a in record["answers"]],
        answers_raw=[a["raw_answer"] for a in record["answers"]],
        answers_confidence=[a["answer_confidence"] == "yes" for a in record["answers"]])
