"""gqa: GQA, compositional questions on photographs, generated from scene graphs.

Hudson and Manning, 2019. From https://cs.stanford.edu/people/dorarad/gqa/download.html:
questions1.2.zip (1.4 GB) and images.zip (20 GB), unzipped into one folder:

  train_balanced_questions.json    val_balanced_questions.json   (so testdev_, challenge_)
  train_all_questions/train_all_questions_0.json (to 9)   val_all_questions.json (...)
  images/n161313.jpg

Config "balanced", the default, has the splits train_balanced, val_balanced, ...; "all" has
train_all, ..., with 14 million questions, each stored with its image: it takes 10 GB of memory and
700 GB of disk. The answers of challenge are not public: they are "".
"""
from big_vlm.datasets import base

UNUSED = {"semantic", "semanticStr", "annotations", "entailed", "equivalent", "groups", "types"}


class Gqa(base.Builder):
  BUILDER_CONFIGS = base.configs({"balanced": "balanced answers", "all": "all questions"})
  FEATURES = {"example_id": base.INT, "image/id": base.TEXT, "image": base.IMAGE,
              "question": base.TEXT, "answer": base.TEXT, "full_answer": base.TEXT,
              "is_balanced": base.BOOL}
  SPLITS = {kind: tuple(f"{part}_{kind}" for part in ("train", "val", "testdev", "challenge"))
            for kind in ("balanced", "all")}
  COUNTS = {
      "balanced": {"train_balanced": 943000, "val_balanced": 132062, "testdev_balanced": 12578},
      "all": {"train_all": 14305356, "val_all": 2011853, "testdev_all": 172174}}

  def records(self, raw, split):
    names = [f"{split}_questions.json"]
    if split == "train_all":
      names = raw.glob("train_all_questions/*.json")
    hidden = {"answer": "", "fullAnswer": ""} if split.startswith("challenge") else {}
    return [(key, {**hidden, **question, "id": key}) for name in names
            for key, question in raw.json(name, object_pairs_hook=_lean).items()]

  def example(self, raw, record):
    return {"example_id": int(record["id"]), "image/id": record["imageId"],
            "image": raw.image(f"images/{record['imageId']}.jpg"), "question": record["question"],
            "answer": record["answer"], "full_answer": record["fullAnswer"],
            "is_balanced": record["isBalanced"]}


def _lean(pairs):
  """A JSON object without the programs of the questions, which take nine tenths of the memory."""
  return {key: value for key, value in pairs if key not in UNUSED}
