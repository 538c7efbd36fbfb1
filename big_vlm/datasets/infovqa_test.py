"""InfographicVQA: answers of several parts stand in every order in val, and only there."""


def test_release(release, picture):
  question = {"questionId": 65718, "question": "Which two?", "image_local_name": "30000.jpeg",
              "image_url": "http://x/30000.jpeg", "ocr_output_file": "30000.json"}
  known = question | {"answers": ["a, b, c", "1,000"]}
  folder = "infographicsvqa_qas/infographicsVQA"
  splits = release("infovqa", {
      f"{folder}_train_v1.0.json": {"data": [known]},
      f"{folder}_val_v1.0_withQT.json": {"data": [known]},
      f"{folder}_test_v1.0.json": {"data": [question]},
      "infographicsvqa_images/30000.jpeg": picture(1)})
  (train,), (val,), (test,) = splits["train"], splits["val"], splits["test"]
  assert list(train["answers"]) == ["a, b, c", "1,000"] and len(test["answers"]) == 0
  assert list(val["answers"]) == ["a, b, c", "a, c, b", "b, a, c", "b, c, a", "c, a, b", "c, b, a",
                                  "1,000"]
  assert val["question_id"] == 65718 and val["filename"] == "30000.jpeg"
  assert val["image"] == picture(1) and val["question"] == "Which two?"
