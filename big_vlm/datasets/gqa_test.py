"""GQA: balanced by default; train_all in several files, challenge without answers."""


def question(balanced=True, **kw):
  return {"imageId": "n161313", "question": "Is it big?", "isBalanced": balanced,
          "semantic": [{"operation": "select", "argument": "dog (1)", "dependencies": []}],
          "groups": {"global": None}, "entailed": [], "equivalent": ["1"], "types": {}, **kw}


ANSWERS = {"answer": "yes", "fullAnswer": "Yes, it is."}


def test_balanced_is_the_default(release, picture):
  files = {f"{part}_balanced_questions.json": {"02930152": question(**ANSWERS)}
           for part in ("train", "val", "testdev")}
  files["challenge_balanced_questions.json"] = {"07": question()}
  splits = release("gqa", {"images/n161313.jpg": picture(1), **files})
  assert list(splits)[0] == "train_balanced" and len(splits) == 4
  (example,), (hidden,) = splits["testdev_balanced"], splits["challenge_balanced"]
  assert example["example_id"] == 2930152 and example["image/id"] == "n161313"
  assert (example["answer"], example["full_answer"]) == ("yes", "Yes, it is.")
  assert example["image"] == picture(1) and example["is_balanced"]
  assert hidden["example_id"] == 7 and hidden["answer"] == hidden["full_answer"] == ""


def test_all(release, picture):
  files = {f"train_all_questions/train_all_questions_{i}.json":
           {f"{i}1": question(False, **ANSWERS), f"{i}2": question(**ANSWERS)} for i in range(3)}
  files |= {f"{part}_all_questions.json": {"1": question(**ANSWERS)}
            for part in ("val", "testdev", "challenge")}
  train = release("gqa/all", {"images/n161313.jpg": picture(1), **files})["train_all"]
  assert sorted(x["example_id"] for x in train) == [1, 2, 11, 12, 21, 22]
  assert sum(x["is_balanced"] for x in train) == 3
