"""nlvr2: NLVR2, sentences that are true or false for two photographs.

Suhr et al., 2019. From https://github.com/lil-lab/nlvr the folder nlvr2/data (about 60 MB), and by
the form named in nlvr2/README.md the images for research (the archives of train, dev and test1),
unpacked beside it:

  nlvr2/data/train.json   nlvr2/data/dev.json   nlvr2/data/test1.json
  images/train/83/train-10171-0-img0.png   dev/dev-850-0-img0.png   test1/test1-0-1-img0.png

test is test1, the public test set. Some images are not PNG, although their names end in .png.
"""
from big_vlm.datasets import base

FILES = {"train": "train", "dev": "dev", "test": "test1"}


class Nlvr2(base.Builder):
  FEATURES = dict(example_id=base.TEXT, sentence=base.TEXT, label=base.TEXT,  # "True", "False"
                  image_left=base.IMAGE, image_right=base.IMAGE)
  SPLITS = tuple(FILES)
  COUNTS = {"train": 86_373, "dev": 6_982, "test": 6_967}

  def records(self, raw, split):
    name = FILES[split]
    return [(row["identifier"], {**row, "folder": (
        f"images/train/{row['directory']}" if split == "train" else name)})
            for row in raw.lines(f"nlvr2/data/{name}.json")]

  def example(self, raw, record):
    pair = record["identifier"].rpartition("-")[0]  # the last number is that of the sentence
    return dict(
        example_id=record["identifier"], sentence=record["sentence"], label=record["label"],
        **{f"image_{side}": raw.image(f"{record['folder']}/{pair}-img{i}.png")
           for i, side in enumerate(("left", "right"))})
