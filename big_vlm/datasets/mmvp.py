"""mmvp: MMVP, 150 pairs of images that CLIP embeds alike, with one question for each pair.

Tong et al., 2024. A clone of https://huggingface.co/datasets/MMVP/MMVP, with Git LFS:

  Questions.csv   MMVP Images/1.jpg

Questions 2k-1 and 2k are a pair, and `pair` is k. A pair counts only if both answers are right.
options is "(a) Open (b) Closed", choices is ["Open", "Closed"], and answer is "(a)" or "(b)". The
builder keeps the known wrong answers of questions 99, 100, 279 and 280.
"""
import re

from big_vlm.datasets import base


class Mmvp(base.Builder):
  FEATURES = dict(image=base.IMAGE, question_id=base.INT, pair=base.INT, question=base.TEXT,
                  options=base.TEXT, choices=base.TEXTS, answer=base.TEXT)
  SPLITS = ("test",)
  COUNTS = {"test": 300}

  def records(self, raw, split):
    return [(n, {**row, "id": n}) for n, row in enumerate(raw.table("Questions.csv"), 1)]

  def example(self, raw, record):
    options = record["Options"]
    return dict(
        image=raw.image(f"MMVP Images/{record['id']}.jpg"), question_id=record["id"],
        pair=(record["id"] + 1) // 2, question=record["Question"], options=options,
        choices=[c.strip() for c in re.split(r"\([a-z]\)", options)[1:]],
        answer=record["Correct Answer"].strip())
