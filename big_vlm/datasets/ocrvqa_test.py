"""OCR-VQA, laid out as its files are."""


def test_release(release, picture):
  def book(split, ending, *answers):
    return {"imageURL": f"http://images.example.com/images/I/61Y5{ending}", "split": split,
            "questions": [f"What is {a}?" for a in answers], "answers": list(answers),
            "title": "t", "authorName": "a", "genre": "g"}

  got = release("ocrvqa", {
      "dataset.json": {"761183272": book(1, ".jpg", "Mom's Calendar", "No"),
                       "001047947X": book(3, ".gif", "2016", "Yes"), "7": book(2, ".jpg", "x")},
      "images/761183272.jpg": picture(1), "images/001047947X.gif": picture(2, "GIF"),
      "images/7.jpg": picture(3)})
  assert {e["int_id"]: e["answer"] for e in got["train"]} == {0: "Mom's Calendar", 1: "No"}
  assert {e["int_id"]: e["question"] for e in got["test"]} == {
      2: "What is 2016?", 3: "What is Yes?"}
  assert {(e["image_id"], e["image"]) for e in got["test"]} == {("001047947X", picture(2, "GIF"))}
  assert got["val"][0]["int_id"] == 4
