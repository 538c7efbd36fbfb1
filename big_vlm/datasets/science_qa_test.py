"""ScienceQA, laid out as its files are."""


def test_release(release, picture):
  problem = {"question": "Which is dry?", "choices": ["sea", "sand"], "answer": 1, "hint": "",
             "image": "image.png", "task": "closed choice", "grade": "grade2", "topic": "t",
             "subject": "natural science", "category": "c", "skill": "s", "lecture": "",
             "solution": "It is.", "split": "train"}
  problems = {"1": problem, "2": {**problem, "image": None},
              "3": {**problem, "split": "val", "hint": "Look."}, "4": {**problem, "split": "test"}}
  got = release("science_qa", {
      "problems.json": problems,
      **{f"{s}/{n}/image.png": picture(n, "PNG") for s, n in (("train", 1), ("val", 3),
                                                             ("test", 4))}})
  example, = got["train"]  # without 2, which has no image
  assert example["image"] == picture(1, "PNG") and list(example["choices"]) == ["sea", "sand"]
  assert (example["answer"], example["indexed_answer"]) == (1, "B")
  assert example["indexed_choices"] == "(A) sea, (B) sand"
  assert example["hint"] == "N/A" and got["val"][0]["hint"] == "Look."
