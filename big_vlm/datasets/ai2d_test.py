"""AI2D: the test ids, and letters painted over texts."""
import io
import pathlib

import matplotlib
import numpy as np
from PIL import Image

FONT = pathlib.Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")


def question(number, abc):
  return {"abcLabel": abc, "answerTexts": ["ears", "nose"], "correctAnswer": 1,
          "questionId": f"{number}.png-0"}


def test_release(release, picture):
  image = picture(1, "PNG", (40, 30))
  files = {"ai2d_test_ids.csv": "2\n9\n", "DMSans-Regular.ttf": FONT.read_bytes()}
  for number, abc in ((1, False), (2, True), (12, False)):
    files |= {
        f"ai2d/images/{number}.png": image,
        f"ai2d/questions/{number}.png.json": {
            "imageName": f"{number}.png", "questions": {"What is A?": question(number, abc)}},
        f"ai2d/annotations/{number}.png.json": {"text": {"T0": {
            "rectangle": [[5, 4], [25, 24]], "replacementText": "A", "value": "nose"}}}}
  splits = release("ai2d", files)
  assert {x["id"] for x in splits["train"]} == {"1.png-0", "12.png-0"}
  assert all(x["image"] == image for x in splits["train"])
  (example,) = splits["test"]
  assert (example["question"], example["label"], example["answer"]) == ("What is A?", 1, "nose")
  assert example["abc_label"] and list(example["possible_answers"]) == ["ears", "nose"]
  pixels = np.asarray(Image.open(io.BytesIO(example["image"])))
  plain = np.asarray(Image.open(io.BytesIO(image)))
  box = np.zeros((30, 40), bool)
  box[4:25, 5:26] = True  # both corners are inside
  assert (pixels[~box] == plain[~box]).all() and (pixels[4, 5:26] == 255).all()
  assert 5 < (pixels[box].sum(-1) < 100).sum() < 200  # a black A, not more
