"""pope: POPE, is there such a thing in the photograph? For object hallucination.

Li et al., 2023; MIT. From https://github.com/AoiDragon/POPE the files of output/coco (under 1 MB;
those before October 2023 have fewer questions and slips of spelling); from
https://cocodataset.org/#download the images of 2014, val (6 GB), unzipped beside them:

  output/coco/coco_pope_random.json    output/coco/coco_pope_popular.json
  output/coco/coco_pope_adversarial.json   val2014/COCO_val2014_000000310196.jpg

The config is how absent things were chosen: at random, among frequent ones, or among those that
often stand with what is there. question_id is the place in the file; thing is what is asked for.
"""
import tensorflow_datasets as tfds

from big_vlm.datasets import base


class Pope(base.Builder):
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name, description=f"{name} absent things")
                     for name in ("random", "popular", "adversarial")]
  FEATURES = {"question_id": base.INT, "image/filename": base.TEXT, "image": base.IMAGE,
              "question": base.TEXT, "answer": base.TEXT, "thing": base.TEXT}
  SPLITS = ("test",)
  COUNTS = {"test": 3000}

  def records(self, raw, split):
    rows = raw.lines(f"output/coco/coco_pope_{self.builder_config.name}.json")
    return [(i, {**row, "id": i}) for i, row in enumerate(rows)]

  def example(self, raw, record):
    thing = record["text"].removeprefix("Is there an ").removeprefix("Is there a ")
    return {"question_id": record["id"], "image/filename": record["image"],
            "image": raw.image(f"val2014/{record['image']}"), "question": record["text"],
            "answer": record["label"], "thing": thing.removesuffix(" in the image?")}
