"""DocVQA: pages lie in one folder, whichever the annotations name; test has no answers."""


def test_release(release, picture):
  question = {"questionId": 337, "question": "What is the date?", "docId": 279,
              "image": "documents/xnbl0037_1.png", "ucsf_document_id": "xnbl0037",
              "ucsf_document_page_no": "1", "data_split": "train"}
  known = question | {"answers": ["1/8/93", "1/8"], "question_types": ["handwritten"]}
  splits = release("docvqa", {
      "spdocvqa_qas/train_v1.0_withQT.json": {"dataset_name": "SP-DocVQA", "data": [known]},
      "spdocvqa_qas/val_v1.0_withQT.json": {"data": [known]},
      "spdocvqa_qas/test_v1.0.json": {"data": [question | {"questionId": 5}]},
      "spdocvqa_images/xnbl0037_1.png": picture(1, "PNG")})
  (example,), (hidden,) = splits["train"], splits["test"]
  assert example["question_id"] == 337 and example["question"] == "What is the date?"
  assert list(example["answers"]) == ["1/8/93", "1/8"]
  assert example["image"] == hidden["image"] == picture(1, "PNG")
  assert example["image/filename"] == "documents/xnbl0037_1.png"
  assert hidden["question_id"] == 5 and len(hidden["answers"]) == 0
