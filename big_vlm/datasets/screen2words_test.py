"""Screen2Words, laid out as its repository and RICO are."""


def test_release(release, picture):
  got = release("screen2words", {
      "screen2words/screen_summaries.csv":
          'screenId,summary\n54137,"a list, sorted"\n7,a map\n54137,settings\n8,login\n',
      "screen2words/split/train_screens.txt": "54137\n",
      "screen2words/split/dev_screens.txt": "7\n", "screen2words/split/test_screens.txt": "8\n",
      **{f"combined/{n}.jpg": picture(n) for n in (7, 8, 54137)}})
  example, = got["train"]
  assert list(example["summary"]) == ["a list, sorted", "settings"]
  assert (example["image/id"], example["image/filename"]) == (54137, "54137.jpg")
  assert example["image"] == picture(54137) and got["dev"][0]["image/id"] == 7
