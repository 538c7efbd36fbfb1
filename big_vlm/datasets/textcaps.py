"""textcaps: TextCaps, captions of photographs that refer to the text in them.

Sidorov et al., 2020; CC BY 4.0. From https://textvqa.org/textcaps/dataset: TextCaps_0.1_train.json,
TextCaps_0.1_val.json, TextCaps_0.1_test.json, train_val_images.zip (7 GB), test_images.zip (1 GB),
unzipped. The images of val are in the folder of train:

  TextCaps_0.1_train.json   train_images/0000599864fd15b3.jpg   (so val)
  TextCaps_0.1_test.json    test_images/00685bc495504d61.jpg

The captions of test are not public: the lists are empty.
"""
from big_vlm.datasets import base


class TextCaps(base.Builder):
  FEATURES = {"image/id": base.TEXT, "image_filepath": base.TEXT, "image": base.IMAGE,
              "texts": base.TEXTS}
  SPLITS = ("train", "val", "test")
  COUNTS = {"train": 21953, "val": 3166, "test": 3289}

  def records(self, raw, split):
    folder = "test_images" if split == "test" else "train_images"
    images = {}
    for row in raw.json(f"TextCaps_0.1_{split}.json")["data"]:  # one for each caption
      file, texts = images.setdefault(row["image_id"], (f"{folder}/{row['image_name']}.jpg", []))
      if split != "test" and row["caption_str"]:
        texts.append(row["caption_str"])
    return [(key, (key, *image)) for key, image in images.items()]

  def example(self, raw, record):
    key, file, texts = record
    return {"image/id": key, "image_filepath": file, "image": raw.image(file), "texts": texts}
