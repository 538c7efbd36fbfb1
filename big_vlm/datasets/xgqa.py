"""xgqa: xGQA, the questions of GQA's test-dev in eight languages, with answers in English.

Pfeiffer et al., 2022. From https://github.com/e-bug/iglue the folder
datasets/xGQA/annotations (120 MB with few_shot); from
https://cs.stanford.edu/people/dorarad/gqa/download.html images.zip (20 GB), unzipped beside it:

  annotations/zero_shot/testdev_balanced_questions_de.json   images/n161313.jpg
  annotations/few_shot/de/test.json    annotations/few_shot/de/dev.json
  annotations/few_shot/de/train_1.json (5, 10, 20, 25, 48: the number of images)

Config "zero_shot", the default, has test_zs_LANGUAGE. "few_shot" has train_fs5_LANGUAGE and so on,
dev_fs_LANGUAGE and test_fs_LANGUAGE, which has other images than train and dev.
"""
from big_vlm.datasets import base

LANGUAGES = ("bn", "de", "en", "id", "ko", "pt", "ru", "zh")
FEW = {"train_fs1": ("train_1", 27), "train_fs5": ("train_5", 155), "train_fs10": ("train_10", 317),
       "train_fs20": ("train_20", 594), "train_fs25": ("train_25", 704),
       "train_fs48": ("train_48", 1490), "dev_fs": ("dev", 1422), "test_fs": ("test", 9666)}


class XGqa(base.Builder):
  BUILDER_CONFIGS = base.configs({"zero_shot": "all of GQA's test-dev",
                                  "few_shot": "a few images to train on"})
  FEATURES = {"example_id": base.TEXT, "image/id": base.TEXT, "image": base.IMAGE,
              "question": base.TEXT, "answer": base.TEXT}
  COUNTS = {"zero_shot": {f"test_zs_{language}": 12578 for language in LANGUAGES},
            "few_shot": {f"{part}_{language}": count for language in LANGUAGES
                         for part, (_, count) in FEW.items()}}
  SPLITS = {config: tuple(counts) for config, counts in COUNTS.items()}

  def records(self, raw, split):
    part, _, language = split.rpartition("_")
    name = f"zero_shot/testdev_balanced_questions_{language}.json"
    if part in FEW:
      name = f"few_shot/{language}/{FEW[part][0]}.json"
    return [(f"{key}_{language}", {**question, "id": f"{key}_{language}"})
            for key, question in raw.json(f"annotations/{name}").items()]

  def example(self, raw, record):
    return {"example_id": record["id"], "image/id": record["imageId"],
            "image": raw.image(f"images/{record['imageId']}.jpg"),
            "question": record["question"], "answer": record["answer"]}
