"""TextVQA: photographs on their side are turned, all others keep their bytes."""
import io

import numpy as np
from PIL import Image

LEFT_RED = io.BytesIO()
Image.fromarray(np.repeat([[[255, 0, 0], [0, 0, 255]]], 16, 0).repeat([16, 16], 1).astype("uint8")
                ).save(LEFT_RED, "JPEG")


def question(number, image, **kw):
  return {"question_id": number, "image_id": image, "question": "what?", "set_name": "x", **kw}


def test_release(release, picture):
  answers = ["stop"] * 9 + [""]
  splits = release("textvqa", {
      "TextVQA_0.5.1_train.json": {"data": [question(1, "0a", answers=answers),
                                            question(2, "0b", answers=answers)]},
      "TextVQA_0.5.1_val.json": {"data": [question(3, "0b", answers=answers)]},
      "TextVQA_0.5.1_test.json": {"data": [question(4, "0c")]},
      "train-images-boxable-with-rotation.csv":
          'ImageID,Subset,Title,Rotation\n0a,train,"a, b",\n0b,train,b,90.0\n',
      "test-images-with-rotation.csv": "ImageID,Subset,Title,Rotation\n0c,test,c,0.0\n",
      "train_images/0a.jpg": LEFT_RED.getvalue(), "train_images/0b.jpg": LEFT_RED.getvalue(),
      "test_images/0c.jpg": picture(3)})
  plain, turned = sorted(splits["train"], key=lambda x: x["question_id"])
  assert plain["image"] == LEFT_RED.getvalue() and plain["image_filepath"] == "train_images/0a.jpg"
  assert list(plain["answers"]) == answers
  pixels = np.asarray(Image.open(io.BytesIO(turned["image"]))).astype(int)
  assert pixels.shape == (32, 16, 3)  # counter-clockwise: what was left is below
  assert pixels[0, 8, 2] > 200 and pixels[31, 8, 0] > 200
  (val,), (test,) = splits["val"], splits["test"]
  assert val["image"] == turned["image"] and val["question_id"] == val["image/id"] == 3
  assert test["image"] == picture(3) and len(test["answers"]) == 0
