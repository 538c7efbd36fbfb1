"""xm3600: Crossmodal-3600, photographs from all over the world with captions in 36 languages.

Thapliyal et al., 2022; CC BY 4.0. From https://google.github.io/crossmodal-3600/: captions.zip and
images.tgz (3,600 photographs), the first unzipped, the second unpacked in images:

  captions.jsonl   images/0006dcce45d2ad58.jpg

Each language is a split. captions/tokenized is for metrics that split at spaces.
"""
from big_vlm.datasets import base

LANGUAGES = ("ar bn cs da de el en es fa fi fil fr he hi hr hu id it ja ko mi nl no pl pt quz ro "
             "ru sv sw te th tr uk vi zh").split()


class Xm3600(base.Builder):
  FEATURES = {"image/id": base.TEXT, "image": base.IMAGE, "captions": base.TEXTS,
              "captions/tokenized": base.TEXTS, "language": base.TEXT}
  SPLITS = tuple(LANGUAGES)
  COUNTS = dict.fromkeys(LANGUAGES, 3600)

  def records(self, raw, split):
    return [(f"{row['image/key']}_{split}",
             {**row[split], "image": row["image/key"], "language": split})
            for row in raw.lines("captions.jsonl")]

  def example(self, raw, record):
    image, language = record["image"], record["language"]
    return {"image/id": f"{image}_{language}", "image": raw.image(f"images/{image}.jpg"),
            "captions": record["caption"], "captions/tokenized": record["caption/tokenized"],
            "language": language}
