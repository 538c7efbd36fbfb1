"""vqav2: VQAv2, open questions on COCO photographs, with ten answers each.

Goyal et al., 2017; CC BY 4.0. From https://visualqa.org/download.html the questions and annotations
(0.6 GB unzipped); from https://cocodataset.org/#download the images of train 2014 (13 GB), val 2014
(6 GB) and test 2015 (12 GB), unzipped beside them:

  v2_OpenEnded_mscoco_train2014_questions.json   v2_mscoco_train2014_annotations.json
  v2_OpenEnded_mscoco_val2014_questions.json     v2_mscoco_val2014_annotations.json
  v2_OpenEnded_mscoco_test2015_questions.json    v2_OpenEnded_mscoco_test-dev2015_questions.json
  train2014/COCO_train2014_000000000009.jpg      val2014/COCO_val2014_000000000042.jpg
  test2015/COCO_test2015_000000000001.jpg

test contains the questions of test-dev. The answers of both are not public: the lists and texts are
empty. answer_confidences are numbers: 0 no, 1 maybe, 2 yes.
"""
from big_vlm.datasets import base

FOLDERS = {"train": "train2014", "validation": "val2014", "test": "test2015",
           "test-dev": "test2015"}
FILES = FOLDERS | {"test-dev": "test-dev2015"}
HIDDEN = dict(question_type="", answer_type="", answers=[], multiple_choice_answer="")


class VqaV2(base.Builder):
  FEATURES = {
      "image/id": base.INT, "image/filename": base.TEXT, "image": base.IMAGE,
      "question_id": base.INT, "question_type": base.TEXT, "question_text": base.TEXT,
      "answer_type": base.TEXT, "answers": base.TEXTS, "top_answer": base.TEXT,
      "answer_confidences": base.f.Sequence(base.f.ClassLabel(names=["no", "maybe", "yes"]))}
  SPLITS = tuple(FOLDERS)
  COUNTS = {"train": 443757, "validation": 214354, "test": 447793, "test-dev": 107394}

  def records(self, raw, split):
    questions = raw.json(f"v2_OpenEnded_mscoco_{FILES[split]}_questions.json")["questions"]
    if split in ("test", "test-dev"):
      answers = {q["question_id"]: HIDDEN for q in questions}
    else:
      annotations = raw.json(f"v2_mscoco_{FILES[split]}_annotations.json")["annotations"]
      answers = {a["question_id"]: a for a in annotations}
    return [(q["question_id"], {**answers[q["question_id"]], **q, "folder": FOLDERS[split]})
            for q in questions]

  def example(self, raw, record):
    folder = record["folder"]
    name = f"COCO_{folder}_{record['image_id']:012d}.jpg"
    return {"image/id": record["image_id"], "image/filename": name,
            "image": raw.image(f"{folder}/{name}"), "question_id": record["question_id"],
            "question_type": record["question_type"], "question_text": record["question"],
            "answer_type": record["answer_type"], "top_answer": record["multiple_choice_answer"],
            "answers": [a["answer"] for a in record["answers"]],
            "answer_confidences": [a["answer_confidence"] for a in record["answers"]]}
