"""nocaps: captions of photographs from Open Images, with objects that COCO's captions lack.

Agrawal et al., 2019. From https://nocaps.org/download: nocaps_val_4500_captions.json and
nocaps_test_image_info.json (10 MB); from https://github.com/cvdfoundation/open-images-dataset:
validation.tar.gz (12 GB) and test.tar.gz (36 GB), unpacked beside them:

  nocaps_val_4500_captions.json   validation/0013ea2087020901.jpg
  nocaps_test_image_info.json     test/000fe11025f2e246.jpg

The captions of test are not public: the only one is "N/A".
"""
from big_vlm.datasets import base


class NoCaps(base.Builder):
  FEATURES = {"image/id": base.INT, "image_filepath": base.TEXT, "url": base.TEXT,
              "image": base.IMAGE, "texts": base.TEXTS}
  SPLITS = ("val", "test")
  COUNTS = {"val": 4500, "test": 10600}

  def records(self, raw, split):
    if split == "test":
      folder, info = "test", raw.json("nocaps_test_image_info.json")
      texts = {image["id"]: ["N/A"] for image in info["images"]}
    else:
      folder, info = "validation", raw.json("nocaps_val_4500_captions.json")
      texts = {}
      for caption in info["annotations"]:
        texts.setdefault(caption["image_id"], []).append(caption["caption"])
    return [(image["id"], {**image, "file": f"{folder}/{image['file_name']}",
                           "texts": texts[image["id"]]}) for image in info["images"]]

  def example(self, raw, record):
    return {"image/id": record["id"], "image_filepath": record["file"], "url": record["coco_url"],
            "image": raw.image(record["file"]), "texts": record["texts"]}
