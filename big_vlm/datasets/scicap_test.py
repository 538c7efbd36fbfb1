"""SciCap, laid out as its archive is."""


def test_release(release, picture):
  files = {}
  for split, name in (("train", "1.1v1-Figure1-1"), ("val", "2.2v1-Figure2-1"), ("test", "3v2-F3")):
    files |= {
        f"List-of-Files-for-Each-Experiments/First-Sentence/No-Subfig/{split}/file_idx.json":
            [f"{name}.png"],
        f"SciCap-No-Subfig-Img/{split}/{name}.png": picture(1, "PNG"),
        f"SciCap-Yes-Subfig-Img/{split}/{name}.png": picture(2, "PNG"),
        f"SciCap-Caption-All/{split}/{name}.json": {
            "0-originally-extracted": "Figure 2: (a) Attack of 5 s.",
            "1-lowercase-and-token-and-remove-figure-index": {"caption": "( a ) attack of 5 s ."},
            "2-normalized": {
                "2-1-basic-num": {"caption": "( a ) attack of NUM-TK s ."},
                "2-2-advanced-euqation-bracket": {"caption": "BRACKET-TK attack of NUM-TK s ."}}}}
  got = release("scicap/first_sentence_subfig_no", files)
  example, = got["train"]
  assert (example["image/id"], example["image/filename"]) == (
      "1.1v1-Figure1-1", "1.1v1-Figure1-1.png")
  assert example["image"] == picture(1, "PNG")
  assert [v for k, v in example.items() if k.startswith("caption/")] == [
      "( a ) attack of 5 s .", "BRACKET-TK attack of NUM-TK s .", "( a ) attack of NUM-TK s .",
      "Figure 2: (a) Attack of 5 s."]
  assert got["test"][0]["image/id"] == "3v2-F3"
