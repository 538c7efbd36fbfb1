"""vsr: VSR, sentences on the spatial relation of two objects, true or false of a COCO photograph.

Liu et al., 2023 (TACL). From https://github.com/cambridgeltl/visual-spatial-reasoning the folder
data/splits (5 MB; as of March 2023, earlier ones have other examples), from the archive named in
data/README.md or from COCO's train2017 and val2017 the images, beside it:

  splits/random/train.jsonl (dev, test)   splits/zeroshot/train.jsonl (dev, test)
  images/000000050403.jpg

Config "zeroshot" has no object of train in dev or test. Its files hold 3,489, 340 and 1,222
examples, the repository's README says 4,713, 231 and 616: state which you report on.
"""
import tensorflow_datasets as tfds

from big_vlm.datasets import base


class Vsr(base.Builder):
  BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(name="random", description="Split at random."),
      tfds.core.BuilderConfig(name="zeroshot", description="Split by objects.")]
  FEATURES = dict(id=base.INT, image=base.IMAGE, filename=base.TEXT, caption=base.TEXT,
                  relation=base.TEXT, label=base.TEXT)  # "True", "False"
  SPLITS = ("train", "dev", "test")
  COUNTS = {"random": {"train": 7_680, "dev": 1_097, "test": 2_195}}

  def records(self, raw, split):
    rows = raw.lines(f"splits/{self.builder_config.name}/{split}.jsonl")
    return [(i, {**row, "id": i}) for i, row in enumerate(rows)]

  def example(self, raw, record):
    return dict(
        id=record["id"], image=raw.image(f"images/{record['image']}"), filename=record["image"],
        caption=record["caption"], relation=record["relation"], label=str(record["label"] == 1))
