"""textvqa: TextVQA, questions on the text in photographs.

Singh et al., 2019; CC BY 4.0. From https://textvqa.org/dataset: the three JSON files (132 MB),
train_val_images.zip (7 GB) and test_images.zip (1 GB), unzipped. The images of val are in the
folder of train. From https://storage.googleapis.com/openimages/web/download.html the image ids with
rotation of Open Images, train "boxable" (0.6 GB) and test:

  TextVQA_0.5.1_train.json   TextVQA_0.5.1_val.json   TextVQA_0.5.1_test.json
  train_images/0000599864fd15b3.jpg   train-images-boxable-with-rotation.csv
  test_images/00685bc495504d61.jpg    test-images-with-rotation.csv

Open Images has some photographs on their side: the builder turns them upright and encodes them
again; the others keep their bytes. The answers of test are not public: the lists are empty.
image/id repeats question_id.
"""
import csv
import io

from PIL import Image

from big_vlm.datasets import base

TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180,
         270: Image.Transpose.ROTATE_270}


class TextVqa(base.Builder):
  FEATURES = {"image/id": base.INT, "image_filepath": base.TEXT, "image": base.IMAGE,
              "question_id": base.INT, "question": base.TEXT, "answers": base.TEXTS}
  SPLITS = ("train", "val", "test")
  COUNTS = {"train": 34602, "val": 5000, "test": 5734}

  def records(self, raw, split):
    hidden, folder, table = {}, "train_images", "train-images-boxable-with-rotation.csv"
    if split == "test":
      hidden, folder, table = {"answers": []}, "test_images", "test-images-with-rotation.csv"
    with raw.path(table).open(encoding="utf-8", newline="") as file:
      rotations = {row["ImageID"]: row["Rotation"] for row in csv.DictReader(file)}
    return [(q["question_id"], {**hidden, **q, "file": f"{folder}/{q['image_id']}.jpg",
                                "rotation": int(float(rotations[q["image_id"]] or 0))})
            for q in raw.json(f"TextVQA_0.5.1_{split}.json")["data"]]

  def example(self, raw, record):
    return {"image/id": record["question_id"], "image_filepath": record["file"],
            "image": upright(raw.image(record["file"]), record["rotation"]),
            "question_id": record["question_id"], "question": record["question"],
            "answers": record["answers"]}


def upright(image, rotation):
  """JPEG bytes of an image turned counter-clockwise by 0, 90, 180 or 270 degrees."""
  if not rotation:
    return image
  out = io.BytesIO()
  turned = Image.open(io.BytesIO(image), formats=base.FORMATS).transpose(TURNS[rotation])
  turned.save(out, "JPEG", quality=100, subsampling="4:2:0")
  return out.getvalue()
