"""TallyQA: images of two sets, answers as numbers or texts, issimple in test only."""


def question(image, **kw):
  return {"image": image, "image_id": 42, "question": "How many dogs?", "answer": 3,
          "data_source": "imported_vqa", **kw}


def test_release(release, picture):
  coco, genome = "val2014/COCO_val2014_000000000042.jpg", "VG_100K_2/1.jpg"
  splits = release("tallyqa", {
      "train.json": [question(coco, question_id=7), question(genome, question_id=8, answer="15")],
      "test.json": [question(genome, question_id=7, issimple=False),
                    question(genome, question_id=8, issimple=True)],
      coco: picture(1), genome: picture(2)})
  first, second = sorted(splits["train"], key=lambda x: x["question_id"])
  assert first["image"] == picture(1) and second["image"] == picture(2)
  assert (first["answer"], second["answer"]) == (3, 15) and first["image_id"] == 42
  assert first["issimple"] == second["issimple"] == -1
  assert first["image_source"] == "imported_vqa" and first["question"] == "How many dogs?"
  assert {int(x["question_id"]): int(x["issimple"]) for x in splits["test"]} == {7: 0, 8: 1}
