"""MMVP, laid out as its repository is."""


def test_release(release, picture):
  questions = ("Index,Question,Options,Correct Answer\n"
               "1,Are the wings open?,(a) Open (b) Closed,(a)\n"
               "2,Are the wings open?,(a) Open (b) Closed,(b)\n"
               '3,"Is it left, or right?",(a) Left (of it) (b) Right,(b) \n')
  got = release("mmvp", {"Questions.csv": "\ufeff" + questions,
                         **{f"MMVP Images/{n}.jpg": picture(n) for n in (1, 2, 3)}})
  examples = sorted(got["test"], key=lambda e: e["question_id"])
  assert [(e["pair"], e["answer"]) for e in examples] == [(1, "(a)"), (1, "(b)"), (2, "(b)")]
  assert [e["image"] for e in examples] == [picture(n) for n in (1, 2, 3)]
  assert list(examples[0]["choices"]) == ["Open", "Closed"]
  assert examples[0]["options"] == "(a) Open (b) Closed"
  assert list(examples[2]["choices"]) == ["Left (of it)", "Right"]
  assert examples[2]["question"] == "Is it left, or right?"
