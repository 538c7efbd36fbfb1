"""pope: POPE, questions whether an object is in a photograph, to measure object hallucination.

Li et al., 2023; MIT. From https://github.com/AoiDragon/POPE the files of output/coco (under 1 MB;
versions before October 2023 have fewer questions and misspellings); from
https://cocodataset.org/#download the images of 2014, val (6 GB), unzipped beside them:

  output/coco/coco_pope_random.json    output/coco/coco_pope_popular.json
  output/coco/coco_pope_adversarial.json   val2014/COCO_val2014_000000310196.jpg

The config is the choice of the absent objects: at random, among frequent objects, or among objects
that often occur together with those present. question_id is the position in the file; thing is the
object that the question names.
"""
from big_vlm.datasets import base


class Pope(base.Builder):
  BUILDER_CONFIGS = base.configs({
      name: f"{name} absent objects" for name in ("random", "popular", "adversarial")})
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
