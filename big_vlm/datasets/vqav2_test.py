"""VQAv2: answers from a second file; test and test-dev share their images and have none."""


def test_release(release, picture):
  questions = {"questions": [{"image_id": 42, "question": "What net?", "question_id": 42000}]}
  annotations = {"annotations": [{
      "question_id": 42000, "image_id": 42, "question_type": "what", "answer_type": "other",
      "multiple_choice_answer": "net", "answers": [
          {"answer": answer, "answer_confidence": confidence, "answer_id": i} for
          i, (answer, confidence) in enumerate(zip("abc", ("yes", "maybe", "no")))]}]}
  files = {f"v2_OpenEnded_mscoco_{name}_questions.json": questions
           for name in ("train2014", "val2014", "test2015", "test-dev2015")}
  files |= {f"v2_mscoco_{name}_annotations.json": annotations for name in ("train2014", "val2014")}
  files |= {f"{name}/COCO_{name}_000000000042.jpg": picture(i)
            for i, name in enumerate(("train2014", "val2014", "test2015"))}
  splits = release("vqav2", files)
  assert list(splits) == ["train", "validation", "test", "test-dev"]
  (val,), (test,), (dev,) = (splits[name] for name in ("validation", "test", "test-dev"))
  assert val["image"] == picture(1) and val["image/filename"] == "COCO_val2014_000000000042.jpg"
  assert (val["image/id"], val["question_id"], val["question_text"]) == (42, 42000, "What net?")
  assert (val["question_type"], val["answer_type"], val["top_answer"]) == ("what", "other", "net")
  assert list(val["answers"]) == ["a", "b", "c"] and list(val["answer_confidences"]) == [2, 1, 0]
  for hidden in (test, dev):
    assert hidden["image"] == picture(2) and hidden["top_answer"] == hidden["question_type"] == ""
    assert len(hidden["answers"]) == len(hidden["answer_confidences"]) == 0
