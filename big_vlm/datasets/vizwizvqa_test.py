"""VizWiz-VQA: empty answers are dropped with their confidences; the number is in the file name."""


def test_release(release, picture):
  answers = [{"answer": answer, "answer_confidence": confidence} for answer, confidence in
             [("basil", "yes"), ("", "no"), ("basil leaves", "maybe")]]
  files = {}
  for i, split in enumerate(("train", "val", "test")):
    name = f"VizWiz_{split}_0000012{i}.jpg"
    question = {"image": name, "question": "What is this?"}
    if split != "test":
      question |= {"answers": answers, "answerable": 1, "answer_type": "other"}
    files |= {f"annotations/{split}.json": [question], f"{split}/{name}": picture(i)}
  splits = release("vizwizvqa", files)
  (val,), (test,) = splits["val"], splits["test"]
  assert list(val["answers"]) == ["basil", "basil leaves"]
  assert list(val["answer_confidences"]) == ["yes", "maybe"]
  assert val["answerable"] == 1 and val["question_id"] == 121 and val["image"] == picture(1)
  assert val["image/filename"] == "VizWiz_val_00000121.jpg" and val["question"] == "What is this?"
  assert test["answerable"] == -1 and len(test["answers"]) == len(test["answer_confidences"]) == 0
  assert test["question_id"] == 122 and test["image"] == picture(2)
