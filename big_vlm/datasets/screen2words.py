"""screen2words: Screen2Words, summaries of screens of Android applications, five for each.

Wang et al., 2021. A clone of https://github.com/google-research-datasets/screen2words (about
6 MB) and, from http://www.interactionmining.org/rico, "UI Screenshots and View Hierarchies"
(unique_uis.tar.gz, 6 GB), unpacked beside it:

  screen2words/screen_summaries.csv   screen2words/split/train_screens.txt (dev, test)
  combined/0.jpg
"""
from big_vlm.datasets import base


class Screen2Words(base.Builder):
  FEATURES = {"image": base.IMAGE, "image/id": base.INT, "image/filename": base.TEXT,
              "summary": base.TEXTS}
  SPLITS = ("train", "dev", "test")
  COUNTS = {"train": 15_743, "dev": 2_364, "test": 4_310}

  def records(self, raw, split):
    summaries = {}
    for row in raw.table("screen2words/screen_summaries.csv"):
      summaries.setdefault(int(row["screenId"]), []).append(row["summary"])
    ids = map(int, raw.text(f"screen2words/split/{split}_screens.txt").split())
    return [(i, {"id": i, "summary": summaries[i]}) for i in ids]

  def example(self, raw, record):
    name = f"{record['id']}.jpg"
    return {"image": raw.image(f"combined/{name}"), "image/id": record["id"],
            "image/filename": name, "summary": record["summary"]}
