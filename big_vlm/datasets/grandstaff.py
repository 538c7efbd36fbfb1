"""grandstaff: GrandStaff, single systems of piano scores with their notes in kern.

Ríos-Vila et al., 2023: 53,882 systems of six composers, most of them transposed.
https://sites.google.com/view/multiscore-project/datasets, grandstaff.tgz unpacked, with the
official partition of the paper beside the composers (lines such as
"beethoven/piano-sonatas/sonata01-1/maj2_down_m-0-4.bekrn", also after "grandstaff_dataset/"):

  partitions/train.txt   partitions/val.txt   partitions/test.txt
  beethoven/piano-sonatas/sonata01-1/maj2_down_m-0-4.jpg    and .krn and .bekrn

Published error rates refer to "bekern": kern in its basic extended form, with a middle dot between
the parts of a note. The builder does not read the distorted pictures.
"""
from big_vlm.datasets import base


class Grandstaff(base.Builder):
  FEATURES = {"image": base.IMAGE, "image/id": base.TEXT, "bekern": base.TEXT, "kern": base.TEXT}
  SPLITS = ("train", "val", "test")
  COUNTS = {"train": 41598, "val": 4623, "test": 7661}

  def records(self, raw, split):
    names = (line.strip().rpartition("grandstaff_dataset/")[2].removesuffix(".bekrn")
             for line in raw.text(f"partitions/{split}.txt").splitlines())
    return [(name, name) for name in names if name]

  def example(self, raw, record):
    return {"image": raw.image(f"{record}.jpg"), "image/id": record,
            "bekern": raw.text(f"{record}.bekrn"), "kern": raw.text(f"{record}.krn")}
