"""POPE: files of one JSON object per line that are called .json; three configs."""
import json

import pytest


@pytest.mark.parametrize("config", ["random", "popular", "adversarial"])
def test_release(release, picture, config):
  name = "COCO_val2014_000000310196.jpg"
  rows = [{"question_id": 1, "image": name, "label": "yes",
           "text": f"Is there a {config} island in the image?"},
          {"question_id": 2, "image": name, "label": "no",
           "text": "Is there an image in the image?"}]
  files = {f"output/coco/coco_pope_{config}.json": "".join(json.dumps(r) + "\n" for r in rows)}
  splits = release(f"pope/{config}", files | {f"val2014/{name}": picture(1)})
  first, second = sorted(splits["test"], key=lambda x: x["question_id"])
  assert (first["question_id"], first["thing"], first["answer"]) == (0, f"{config} island", "yes")
  assert (second["question_id"], second["thing"], second["answer"]) == (1, "image", "no")
  assert first["image"] == picture(1) and first["image/filename"] == name
  assert second["question"] == "Is there an image in the image?"
