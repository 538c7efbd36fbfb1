"""refcoco: RefCOCO, RefCOCO+ and RefCOCOg, sentences that refer to one object in a COCO photograph.

Yu et al., 2016 (UNC), and Mao et al., 2016 (Google). The archives refcoco.zip, refcoco+.zip and
refcocog.zip (about 120 MB) that https://github.com/lichengunc/refer lists in data/README.md; from
https://cocodataset.org/#download the images of train2017 (19 GB) and annotations_trainval2017.zip
(0.8 GB unzipped; the preparation takes about 4 GB of memory), all unzipped into one folder:

  refcoco/refs(unc).p    refcoco/refs(google).p    refcoco+/refs(unc).p
  refcocog/refs(umd).p   refcocog/refs(google).p   annotations/instances_train2017.json
  train2017/000000581857.jpg

The builder reads only the files of its config, and runs nothing in the .p files, which are pickles.
An example of a split is an image with all objects that have a sentence. An example of the same
split with "_flat" is an image with one object and one sentence (combined: about 60 GB).

"combined" joins RefCOCO, RefCOCO+ (UNC) and RefCOCOg (UMD), with testA and testB as test, without
the training images that are in a validation or test split of one of the three.
"""
import numpy as np
from PIL import Image
from pycocotools import mask as masks

from big_vlm.datasets import base, plain_pickle

FILES = {"unc": ["refcoco/refs(unc).p"], "google": ["refcoco/refs(google).p"],
         "plus_unc": ["refcoco+/refs(unc).p"], "g_google": ["refcocog/refs(google).p"],
         "g_umd": ["refcocog/refs(umd).p"],
         "combined": ["refcocog/refs(umd).p", "refcoco/refs(unc).p", "refcoco+/refs(unc).p"]}
NAMES = {"train": ("train",), "validation": ("val",), "testA": ("testA",), "testB": ("testB",),
         "test": ("test", "testA", "testB")}  # the release's names of the splits


def _with_flat(*splits):
  return tuple(split + suffix for split in splits for suffix in ("", "_flat"))


class RefCoco(base.Builder):
  BUILDER_CONFIGS = base.configs({name: ", ".join(files) for name, files in FILES.items()})
  FEATURES = dict(
      id=base.INT, image=base.IMAGE, height=base.INT, width=base.INT, license=base.TEXT,
      file_name=base.TEXT, flickr_url=base.TEXT, coco_url=base.TEXT,
      objects=base.f.Sequence(dict(
          id=base.INT, area=base.FLOAT, bbox=base.BOX, mask=base.IMAGE, category=base.TEXT,
          supercategory=base.TEXT, iscrowd=base.BOOL,
          refs=base.f.Sequence(dict(id=base.INT, sentence=base.TEXT)))))
  SPLITS = {**dict.fromkeys(("unc", "plus_unc"),
                            _with_flat("train", "validation", "testA", "testB")),
            **dict.fromkeys(("google", "g_umd", "combined"),
                            _with_flat("train", "validation", "test")),
            "g_google": _with_flat("train", "validation")}
  COUNTS = {"unc": {"train": 16_994, "validation": 1_500, "testA": 750, "testB": 750},
            "plus_unc": {"train": 16_992, "validation": 1_500, "testA": 750, "testB": 750},
            "g_umd": {"train": 21_899, "validation": 1_300, "test": 2_600},
            "combined": {"validation": 2_738}}

  def records(self, raw, split):
    image_ids, refs = self._refs(raw, split.removesuffix("_flat"))
    coco = raw.json("annotations/instances_train2017.json")
    categories = {c["id"]: c for c in coco["categories"]}
    licenses = {one["id"]: one["name"] for one in coco["licenses"]}
    objects = {}
    for a in coco["annotations"]:
      if a["id"] in refs:
        objects.setdefault(a["image_id"], []).append(
            {**a, "category": categories[a["category_id"]], "refs": refs[a["id"]]})
    found = [{**i, "license": licenses[i["license"]], "objects": objects.get(i["id"], [])}
             for i in coco["images"] if i["id"] in image_ids]
    if not split.endswith("_flat"):
      return [(image["id"], image) for image in found]
    return [(f"{image['id']}_{o['id']}_{n}", {**image, "objects": [{**o, "refs": [ref]}]})
            for image in found for o in image["objects"] for n, ref in enumerate(o["refs"])]

  def _refs(self, raw, split):
    """(image ids, {annotation id: [{"id", "sentence"}]}) of a split."""
    config = self.builder_config.name
    refs = [r for file in FILES[config]
            for r in plain_pickle.loads(raw.bytes(file), raw.path(file))]
    held_out = ({r["image_id"] for r in refs if r["split"] != "train"}
                if (config, split) == ("combined", "train") else ())
    refs = [r for r in refs if r["split"] in NAMES[split] and r["image_id"] not in held_out]
    sentences = {}
    for r in refs:
      sentences.setdefault(r["ann_id"], []).extend(
          {"id": s["sent_id"], "sentence": s["sent"]} for s in r["sentences"])
    return {r["image_id"] for r in refs}, sentences

  def example(self, raw, record):
    height, width = record["height"], record["width"]
    return dict(
        {key: record[key] for key in
         ("id", "height", "width", "license", "file_name", "flickr_url", "coco_url")},
        image=raw.image(f"train2017/{record['file_name']}"),
        objects=[dict(
            id=o["id"], area=o["area"], bbox=_box(*o["bbox"], width, height),
            mask=_mask(o["segmentation"], height, width), category=o["category"]["name"],
            supercategory=o["category"]["supercategory"], iscrowd=bool(o["iscrowd"]),
            refs=o["refs"]) for o in record["objects"]])


def _box(x, y, w, h, width, height):
  return base.box((x, y, x + w, y + h), (width, height))


def _mask(segmentation, height, width):
  """The PNG of a mask of polygons or run lengths, white on black, with one bit per pixel."""
  if isinstance(segmentation, list):
    runs = masks.merge(masks.frPyObjects(segmentation, height, width))
  elif isinstance(segmentation["counts"], list):
    runs = masks.frPyObjects(segmentation, height, width)
  else:
    runs = segmentation
  return base.png(Image.fromarray(masks.decode(runs).astype(np.bool_)))
