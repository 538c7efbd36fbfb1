"""OK-VQA, laid out as the official files are."""


def test_release(release, picture):
  question = {"image_id": 42, "question": "what is it for?", "question_id": 420}
  answers = [{"answer": "ride", "raw_answer": "riding", "answer_confidence": "yes",
              "answer_id": i} for i in range(10)]
  annotations = {"annotations": [{"question_id": 420, "image_id": 42, "question_type": "one",
                                  "answer_type": "other", "answers": answers}],
                 "question_types": {"one": "Vehicles and Transportation"}}
  files = {}
  for split in ("train", "val"):
    files |= {f"OpenEnded_mscoco_{split}2014_questions.json": {"questions": [question]},
              f"mscoco_{split}2014_annotations.json": annotations,
              f"{split}2014/COCO_{split}2014_000000000042.jpg": picture(1)}
  example = release("okvqa", files)["val"][0]
  assert example["image"] == picture(1) and example["question_id"] == 420
  assert example["question_type_readable"] == "Vehicles and Transportation"
  assert list(example["answers"]) == ["ride"] * 10 and example["answers_raw"][0] == "riding"
  assert example["answers_confidence"].all()
