"""RefCOCO, laid out as the archives of refer and of COCO are."""
import io
import pickle

import numpy as np
from PIL import Image

from pp.builder import get_preprocess_fn

POLYGON = [[0, 0, 4, 0, 4, 3, 0, 3]]  # the upper left quarter of 8 x 6 pixels


def ref(image, ann, split, *sentences):
  return {"image_id": image, "ann_id": ann, "ref_id": ann, "split": split, "category_id": 1,
          "sentences": [{"sent_id": 10 * ann + i, "sent": s, "raw": s, "tokens": s.split()}
                        for i, s in enumerate(sentences)]}


def layout(picture, **refs):
  annotations = [{"id": n, "image_id": n // 10, "category_id": 1, "area": 12.0, "iscrowd": n % 2,
                  "bbox": [0, 0, 4, 3], "segmentation": s}
                 for n, s in ((10, POLYGON), (11, {"counts": [0, 24, 24], "size": [6, 8]}),
                              (20, POLYGON), (30, POLYGON), (12, POLYGON))]
  coco = {"annotations": annotations, "licenses": [{"id": 3, "name": "Attribution"}],
          "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
          "images": [{"id": n, "file_name": f"{n:012d}.jpg", "height": 6, "width": 8, "license": 3,
                      "flickr_url": "f", "coco_url": "c"} for n in (1, 2, 3)]}
  return {"annotations/instances_train2017.json": coco,
          **{f"train2017/{n:012d}.jpg": picture(n) for n in (1, 2, 3)},
          **{name: pickle.dumps(rows, protocol=0) for name, rows in refs.items()}}


UNC = [ref(1, 10, "train", "man", "left one"), ref(1, 11, "train", "boy"), ref(2, 20, "val", "cat"),
       ref(3, 30, "testA", "dog"), ref(2, 20, "testB", "the cat"), ref(3, 99, "testB", "nothing")]


def test_unc(release, picture):
  got = release("refcoco/unc", layout(picture, **{"refcoco/refs(unc).p": UNC}))
  assert {k: len(v) for k, v in got.items()} == {
      "train": 1, "train_flat": 3, "validation": 1, "validation_flat": 1, "testA": 1,
      "testA_flat": 1, "testB": 2, "testB_flat": 1}
  example = got["train"][0]
  objects = example["objects"]
  assert example["image"] == picture(1) and example["license"] == "Attribution"
  assert list(objects["id"]) == [10, 11]  # 12 is in the image and nobody refers to it
  np.testing.assert_allclose(objects["bbox"], [[0, 0, 0.5, 0.5]] * 2)
  assert [list(s) for s in objects["refs"]["sentence"]] == [["man", "left one"], ["boy"]]
  assert [list(i) for i in objects["refs"]["id"]] == [[100, 101], [110]]
  quarter, half = (np.asarray(Image.open(io.BytesIO(m))) for m in objects["mask"])
  assert quarter.sum() == 12 and quarter[:3, :4].all() and half.sum() == 24 and half[:, :4].all()
  assert get_preprocess_fn("flatten")(example)["objects/mask"].shape == (2,)
  flat = sorted((e["objects"]["refs"]["sentence"][0][0], e["objects"]["id"][0])
                for e in got["train_flat"])
  assert flat == [("boy", 11), ("left one", 10), ("man", 10)]


def test_combined_holds_out(release, picture):
  umd = [ref(1, 12, "train", "umd one"), ref(3, 30, "val", "umd dog")]
  plus = [ref(1, 10, "train", "plus one"), ref(3, 30, "train", "plus dog")]
  got = release("refcoco/combined", layout(picture, **{
      "refcoco/refs(unc).p": UNC, "refcocog/refs(umd).p": umd, "refcoco+/refs(unc).p": plus}))
  train, = got["train"]  # without image 3, which RefCOCOg validates on
  assert train["id"] == 1 and list(train["objects"]["id"]) == [10, 11, 12]
  assert list(train["objects"]["refs"]["sentence"][0]) == ["man", "left one", "plus one"]
  assert {e["id"] for e in got["test"]} == {2, 3}
