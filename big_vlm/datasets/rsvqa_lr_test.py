"""RSVQA-LR, laid out as the files at Zenodo are."""
import io

import numpy as np
import pytest
from PIL import Image

QUESTIONS = [("comp", "yes"), ("count", "0"), ("count", "10"), ("count", "100"), ("count", "1000"),
             ("count", "17139"), ("rural_urban", "rural")]
BINS = ["yes", "0", "between 1 and 10", "between 11 and 100", "between 101 and 1000",
        "more than 1000", "rural"]


def layout(picture):
  files = {"Images_LR/7.tif": picture(7, "TIFF")}
  for split in ("train", "val", "test"):
    files[f"LR_split_{split}_questions.json"] = {"questions": [
        {"id": n, "img_id": 7, "active": True, "type": kind, "question": "?", "answers_ids": [n]}
        for n, (kind, _) in enumerate(QUESTIONS)]}
    files[f"LR_split_{split}_answers.json"] = {"answers": [
        {"id": n, "question_id": n, "active": True, "answer": answer}
        for n, (_, answer) in enumerate(QUESTIONS)]}
  return files


@pytest.mark.parametrize("config, ids", [("all", range(7)), ("nonum", (0, 6))])
def test_release(config, ids, release, picture):
  got = release(f"rsvqa_lr/{config}", layout(picture))
  assert list(got) == ["train", "val", "test"]
  examples = {e["question_id"]: e for e in got["val"]}
  assert sorted(examples) == list(ids)
  assert [list(examples[n]["answers"]) for n in ids] == [[BINS[n]] for n in ids]
  assert [list(examples[n]["raw_answers"]) for n in ids] == [[QUESTIONS[n][1]] for n in ids]
  image = Image.open(io.BytesIO(examples[0]["image"]))
  assert image.format == "PNG" and examples[0]["filename"] == "7.tif"
  np.testing.assert_array_equal(image, Image.open(io.BytesIO(picture(7, "TIFF"))))
