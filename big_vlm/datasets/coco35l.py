"""coco35l: COCO-35L, the captions of COCO in 35 languages by machine translation.

Thapliyal et al., 2022; CC BY 4.0. From https://google.github.io/crossmodal-3600/: coco_mt_train and
coco_mt_dev (some GB), uncompressed; from https://cocodataset.org/#download the images of 2014,
train (13 GB) and val (6 GB), unzipped beside them. Train and dev are Karpathy's splits, so that
images of train are in either folder:

  coco_mt_train.jsonl   coco_mt_dev.jsonl
  train2014/COCO_train2014_000000000009.jpg   val2014/COCO_val2014_000000000042.jpg

Splits are train_LANGUAGE and dev_LANGUAGE. The release has translations from English to 34
languages; the English captions are the sources of the German ones. All captions are tokenized.
"""
import json

from big_vlm.datasets import base

LANGUAGES = ("ar bn cs da de el en es fa fi fil fr he hi hr hu id it ja ko mi nl no pl pt ro ru sv "
             "sw te th tr uk vi zh").split()


class Coco35l(base.Builder):
  FEATURES = {"image": base.IMAGE, "image/id": base.TEXT, "captions": base.TEXTS,
              "language": base.TEXT}
  SPLITS = tuple(f"{part}_{language}" for language in LANGUAGES for part in ("train", "dev"))

  def records(self, raw, split):
    part, language = split.split("_")
    target, field = language, "translation_tokenized"
    if language == "en":
      target, field = "de", "caption_tokenized"
    captions = {}
    with raw.path(f"coco_mt_{part}.jsonl").open(encoding="utf-8") as file:
      for line in file:  # 19 million in train; only lines of the language are parsed
        if f'"{target}"' in line and (row := json.loads(line))["trg_lang"] == target:
          captions.setdefault(row["image_id"].split("_")[0], []).append(row[field])
    return [(f"{image}_{language}", {"image": int(image), "language": language, "captions": texts})
            for image, texts in captions.items()]

  def example(self, raw, record):
    in_val = f"val2014/COCO_val2014_{record['image']:012d}.jpg"
    in_train = f"train2014/COCO_train2014_{record['image']:012d}.jpg"
    return {"image": raw.image(in_val if raw.has(in_val) else in_train),
            "image/id": f"{record['image']}_{record['language']}",
            "captions": record["captions"], "language": record["language"]}
