"""doclaynet: DocLayNet, pages of documents with boxes of 11 classes of layout elements.

Pfitzmann et al., 2022. DocLayNet_core.zip (28 GB) from https://github.com/DS4SD/DocLayNet, unzipped
(CDLA-Permissive); the extra files (PDF, text cells) are not needed:

  COCO/train.json   COCO/val.json   COCO/test.json
  PNG/c6effb847ae7e4a80431696984fa90c98bb08c266481b9a03842422459c43bdd.png   (1025 x 1025)

The features are those of coco_detection and the kind of document.
"""
from big_vlm.datasets import base, coco_detection


class Doclaynet(coco_detection.CocoDetection):
  FEATURES = {**coco_detection.CocoDetection.FEATURES, "doc_category": base.TEXT}
  SPLITS = ("train", "val", "test")
  COUNTS = {"train": 69375, "val": 6489, "test": 4999}

  def files(self, split):
    return f"COCO/{split}.json", "PNG"

  def example(self, raw, record):
    return {**super().example(raw, record), "doc_category": record["doc_category"]}
