"""COCO 2017, laid out as the official files are."""
import json

import numpy as np


def instances(*images, objects=()):
  return {"images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 8, "height": 6,
                      "license": 3} for i in images],
          "annotations": list(objects),
          "categories": [{"supercategory": "person", "id": 1, "name": "person"},
                         {"supercategory": "indoor", "id": 90, "name": "toothbrush"}]}


def test_release(release, picture):
  crowd = {"counts": [20, 10, 18], "size": [6, 8]}
  outline = [[2.0, 0.0, 8.5, 0.0, 8.5, 3.0]]
  objects = [dict(id=900, image_id=9, category_id=90, bbox=[2, 0, 6.5, 3], area=9.75, iscrowd=0,
                  segmentation=outline),
             dict(id=901, image_id=9, category_id=1, bbox=[3, 2, 2, 4], area=10, iscrowd=1,
                  segmentation=crowd)]
  splits = release("coco_detection", {
      "annotations/instances_train2017.json": instances(9, 25, objects=objects),
      "annotations/instances_val2017.json": instances(139),
      "train2017/000000000009.jpg": picture(9), "train2017/000000000025.jpg": picture(25),
      "val2017/000000000139.jpg": picture(139)})
  example, empty = sorted(splits["train"], key=lambda e: e["image/id"])
  assert (example["image"], example["image/filename"]) == (picture(9), "000000000009.jpg")
  assert (example["height"], example["width"]) == (6, 8)
  found = example["objects"]
  assert list(found["label"]) == ["toothbrush", "person"] and list(found["category_id"]) == [90, 1]
  np.testing.assert_allclose(found["bbox"], [[0, 0.25, 0.5, 1], [1 / 3, 0.375, 1, 0.625]],
                             rtol=1e-6)
  assert found["is_crowd"].tolist() == [False, True] and found["area"].tolist() == [9.75, 10]
  assert [json.loads(s) for s in found["segmentation"]] == [outline, crowd]
  assert empty["image/id"] == 25 and empty["objects"]["bbox"].shape == (0, 4)
  assert splits["val"][0]["image"] == picture(139)
