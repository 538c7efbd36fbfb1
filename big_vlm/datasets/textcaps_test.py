"""TextCaps: a row for each caption; val's images lie in train's folder; test has no captions."""


def row(image, **kw):
  return {"image_id": image, "image_name": image, "set_name": "x", "image_width": 8, **kw}


def test_release(release, picture):
  splits = release("textcaps", {
      "TextCaps_0.1_train.json": {"dataset_name": "textcaps", "data": [
          row("0a", caption_str="A sign."), row("0b", caption_str="A bus."),
          row("0a", caption_str="Stop."), row("0a", caption_str="")]},
      "TextCaps_0.1_val.json": {"data": [row("0c", caption_str="A book.")]},
      "TextCaps_0.1_test.json": {"data": [row("0d")]},
      "test_images/0d.jpg": picture(4),
      **{f"train_images/0{x}.jpg": picture(i) for i, x in enumerate("abc")}})
  first, second = sorted(splits["train"], key=lambda x: x["image/id"])
  assert list(first["texts"]) == ["A sign.", "Stop."] and list(second["texts"]) == ["A bus."]
  assert second["image"] == picture(1) and second["image_filepath"] == "train_images/0b.jpg"
  (val,), (test,) = splits["val"], splits["test"]
  assert val["image"] == picture(2) and val["image/id"] == "0c"
  assert test["image"] == picture(4) and len(test["texts"]) == 0
