"""flickr30k: photographs of people with five captions each, in Karpathy's splits.

Young et al., 2014; Karpathy and Li, 2015. From
https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip the file
dataset_flickr30k.json; the images on request from https://shannon.cs.illinois.edu/DenotationGraph/,
unpacked beside it:

  dataset_flickr30k.json
  flickr30k-images/1000092795.jpg
"""
from big_vlm.datasets import base


class Flickr30k(base.Builder):
  FEATURES = {"image": base.IMAGE, "image/id": base.TEXT, "captions": base.TEXTS}
  SPLITS = ("train", "val", "test")
  COUNTS = {"train": 29000, "val": 1014, "test": 1000}

  def records(self, raw, split):
    return [(image["filename"], image) for image in raw.json("dataset_flickr30k.json")["images"]
            if image["split"] == split]

  def example(self, raw, record):
    return {"image": raw.image(f"flickr30k-images/{record['filename']}"),
            "image/id": record["filename"].partition(".")[0],
            "captions": [sentence["raw"] for sentence in record["sentences"]]}
