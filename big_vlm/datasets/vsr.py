"""vsr: VSR, sentences on the spatial relation of two objects, true or false for a COCO photograph.

Liu et al., 2023 (TACL). From https://github.com/cambridgeltl/visual-spatial-reasoning the folder
data/splits (5 MB; versions before March 2023 have other examples); from the archive named in
data/README.md or from COCO's train2017 and val2017 the images, beside it:

  splits/random/train.jsonl (dev, test)   splits/zeroshot/train.jsonl (dev, test)
  images/000000050403.jpg

In config "zeroshot", train shares no object with dev and test. Its files hold 3,489, 340 and 1,222
examples, while the repository's README says 4,713, 231 and 616: report which ones you use.
"""
from big_vlm.datasets import base


class Vsr(base.Builder):
  BUILDER_CONFIGS = base.configs({"random": "Split at random.", "zeroshot": "Split by objects."})
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
