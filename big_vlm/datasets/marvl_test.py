"""MaRVL, laid out as its archives are."""


def test_release(release, picture):
  files = {}
  for language in ("id", "sw", "ta", "tr", "zh"):
    row = {"concept": "26-தைப்பொங்கல்", "language": language, "caption": f"左圖 {language}",
           "left_img": "26-6.jpg", "right_img": "26-3.jpg", "chapter": "Time", "annotator_info": {}}
    files |= {
        f"marvl-annotations/marvl-{language}.jsonl": [
            {**row, "id": f"{language}-0", "label": True},
            {**row, "id": f"{language}-1", "label": False}],
        f"marvl-images/{language}/images/26-தைப்பொங்கல்/26-6.jpg": picture(6),
        f"marvl-images/{language}/images/26-தைப்பொங்கல்/26-3.jpg": picture(3)}
  got = release("marvl", files)
  assert list(got) == ["test_id", "test_sw", "test_ta", "test_tr", "test_zh"]
  assert {e["example_id"]: e["label"] for e in got["test_zh"]} == {"zh-0": "True", "zh-1": "False"}
  for example in got["test_ta"]:
    assert (example["image_left"], example["image_right"]) == (picture(6), picture(3))
    assert example["sentence"] == "左圖 ta"
