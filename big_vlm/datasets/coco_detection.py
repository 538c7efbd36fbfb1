"""coco_detection: COCO 2017, objects of 80 classes in photographs, as boxes and outlines.

Lin et al., 2014. From https://cocodataset.org/#download the images of 2017, train (18 GB) and val
(1 GB), and annotations_trainval2017.zip (241 MB), unzipped side by side:

  annotations/instances_train2017.json   annotations/instances_val2017.json
  train2017/000000000009.jpg             val2017/000000000139.jpg

"segmentation" is the JSON of the release: polygons [[x1, y1, ...], ...] in pixels or, for a crowd,
a run-length code {"counts": .., "size": [height, width]}. Evaluations ignore detections of crowds
(is_crowd). Images without objects are included.
"""
import collections
import json

from big_vlm.datasets import base


class CocoDetection(base.Builder):
  FEATURES = {
      "image": base.IMAGE, "image/id": base.INT, "image/filename": base.TEXT,
      "height": base.INT, "width": base.INT,
      "objects": base.f.Sequence(dict(
          id=base.INT, bbox=base.BOX, label=base.TEXT, category_id=base.INT, area=base.FLOAT,
          is_crowd=base.BOOL, segmentation=base.TEXT))}
  SPLITS = ("train", "val")
  COUNTS = {"train": 118287, "val": 5000}

  def files(self, split):
    """(annotation file, folder of images) of a split."""
    return f"annotations/instances_{split}2017.json", f"{split}2017"

  def records(self, raw, split):
    file, folder = self.files(split)
    annotations = raw.json(file)
    labels = {c["id"]: c["name"] for c in annotations["categories"]}
    objects = collections.defaultdict(list)
    for a in annotations["annotations"]:
      objects[a["image_id"]].append({**a, "label": labels[a["category_id"]]})
    return [(image["id"], {"folder": folder, "objects": objects[image["id"]], **image})
            for image in annotations["images"]]

  def example(self, raw, record):
    size = record["width"], record["height"]
    return {"image": raw.image(f"{record['folder']}/{record['file_name']}"),
            "image/id": record["id"], "image/filename": record["file_name"],
            "height": record["height"], "width": record["width"],
            "objects": [_object(a, *a["bbox"], size) for a in record["objects"]]}


def _object(a, x, y, width, height, size):
  return dict(id=a["id"], bbox=base.box((x, y, x + width, y + height), size), label=a["label"],
              category_id=a["category_id"], area=a["area"], is_crowd=bool(a["iscrowd"]),
              segmentation=json.dumps(a["segmentation"]))
