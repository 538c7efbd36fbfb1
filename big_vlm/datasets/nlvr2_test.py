"""NLVR2, laid out as its repository and its archives of images are."""
import json


def test_release(release, picture):
  rows = {"train": ("train-10171-0-1", "images/train/83/train-10171-0"),
          "dev": ("dev-850-0-0", "dev/dev-850-0"), "test1": ("test1-0-1-0", "test1/test1-0-1")}
  files = {}
  for split, (identifier, image) in rows.items():
    row = {"identifier": identifier, "sentence": "There is an empty glass.", "label": "False",
           "left_url": "l", "right_url": "r", "synset": "beer bottle", "query": "bottles41"}
    files[f"nlvr2/data/{split}.json"] = json.dumps(
        {**row, **({"directory": 83} if split == "train" else {})}) + "\n"
    files |= {f"{image}-img0.png": picture(0), f"{image}-img1.png": picture(1, "PNG")}
  got = release("nlvr2", files)
  assert {split: e["example_id"] for split, (e,) in got.items()} == {
      "train": "train-10171-0-1", "dev": "dev-850-0-0", "test": "test1-0-1-0"}
  for example, in got.values():
    assert (example["image_left"], example["image_right"]) == (picture(0), picture(1, "PNG"))
    assert (example["label"], example["sentence"]) == ("False", "There is an empty glass.")
