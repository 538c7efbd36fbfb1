"""docci: DOCCI, photographs with long descriptions.

Onoe et al., 2024. From https://google.github.io/docci/#downloads docci_descriptions.jsonlines
(11 MB) and docci_images.tar.gz (7 GB), unpacked (CC BY 4.0):

  docci_descriptions.jsonlines   images/train_00000.jpg
"""
from big_vlm.datasets import base


class Docci(base.Builder):
  FEATURES = dict(image=base.IMAGE, example_id=base.TEXT, filename=base.TEXT,
                  description=base.TEXT)
  COUNTS = {"train": 9_647, "test": 5_000, "qual_dev": 100, "qual_test": 100}
  SPLITS = tuple(COUNTS)

  def records(self, raw, split):
    return [(row["example_id"], row) for row in raw.lines("docci_descriptions.jsonlines")
            if row["split"] == split]

  def example(self, raw, record):
    return dict(
        image=raw.image(f"images/{record['image_file']}"), example_id=record["example_id"],
        filename=record["image_file"], description=record["description"])
