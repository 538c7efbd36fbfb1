"""cococap: COCO Captions, photographs with five captions each, in Karpathy's splits.

Chen et al., 2015; Karpathy and Li, 2015. From
https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip the file
dataset_coco.json (144 MB); from https://cocodataset.org/#download the images of 2014, train (13 GB)
and val (6 GB), unzipped beside it:

  dataset_coco.json
  train2014/COCO_train2014_000000000009.jpg   val2014/COCO_val2014_000000000042.jpg

restval holds the images of COCO's val that are neither in val nor in test; it is for training. Keys
and splits are those of TFDS's coco_captions, so that slices hold the same images.
"""
from big_vlm.datasets import base


class CocoCap(base.Builder):
  FEATURES = {"image": base.IMAGE, "image/id": base.INT, "captions": base.TEXTS}
  SPLITS = ("train", "restval", "val", "test")
  COUNTS = {"train": 82783, "restval": 30504, "val": 5000, "test": 5000}

  def records(self, raw, split):
    return [(image["filename"], image) for image in raw.json("dataset_coco.json")["images"]
            if image["split"] == split]

  def example(self, raw, record):
    return {"image": raw.image(f"{record['filepath']}/{record['filename']}"),
            "image/id": record["cocoid"],
            "captions": [sentence["raw"] for sentence in record["sentences"]]}
