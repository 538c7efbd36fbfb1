"""imagenet: photographs of one of 1,000 classes, ILSVRC 2012, a folder for each class.

Russakovsky et al., 2015. From https://image-net.org/challenges/LSVRC/2012/: the archives of train
and val, unpacked so that each image is in the folder of its class, as most tools expect them:

  train/n01440764/n01440764_18.JPEG   val/n01440764/ILSVRC2012_val_00000293.JPEG

The label is the number of the class's folder in alphabetical order, from 0 on, as everywhere. Other
images in such folders are read as well, with --allow_incomplete.
"""
from big_vlm.datasets import base

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")


class Imagenet(base.Builder):
  FEATURES = {"image": base.IMAGE, "image/filename": base.TEXT, "label": base.INT,
              "class": base.TEXT}
  SPLITS = ("train", "val")
  COUNTS = {"train": 1281167, "val": 50000}

  def records(self, raw, split):
    names = [name.replace("\\", "/") for name in raw.glob(f"{split}/*/*")
             if name.lower().endswith(SUFFIXES)]
    classes = sorted({name.split("/")[1] for name in names})
    numbers = {name: i for i, name in enumerate(classes)}
    return [(name, (name, numbers[name.split("/")[1]])) for name in names]

  def example(self, raw, record):
    name, label = record
    return {"image": raw.image(name), "image/filename": name, "label": label,
            "class": name.split("/")[1]}
