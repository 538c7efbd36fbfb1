"""stvqa: ST-VQA, questions on photographs that contain the answer as text.

Biten et al., 2019; task 3, the open dictionary. From https://rrc.cvc.uab.es/?ch=11&com=downloads
(account needed) the two JSON files and the archives of images of train and of test, unpacked in
train_images and test_task3_images; from https://cocodataset.org/#download the images of 2014, train
(13 GB), because the release squeezes those of coco-text to 256 x 256:

  train_task_3.json   train_images/iiit-text/img_000001.jpg
  test_task_3.json    test_task3_images/icdar/img_1.jpg
  train2014/COCO_train2014_000000000009.jpg   val_images.txt (optional)

There is no official val. The builder takes it from train: the images listed in val_images.txt, one
file_path on each line (M4C's 1,893 give the published 23,446 and 2,628 questions), or without this
file a tenth of the images, by the MD5 of their file_path. The answers of test are not public: the
lists are empty.
"""
import hashlib

from big_vlm.datasets import base


class StVqa(base.Builder):
  FEATURES = dict(question_id=base.INT, filename=base.TEXT, question=base.TEXT, answers=base.TEXTS,
                  image=base.IMAGE)
  SPLITS = ("train", "val", "test")
  COUNTS = {"test": 4070}  # train and val together: 26,074

  def records(self, raw, split):
    if split == "test":
      return [(q["question_id"], {"answers": [], **q, "folder": "test_task3_images"})
              for q in raw.json("test_task_3.json")["data"]]
    listed = None
    if raw.has("val_images.txt"):
      listed = set(raw.text("val_images.txt").splitlines())
    return [(q["question_id"], {**q, "folder": "train_images"})
            for q in raw.json("train_task_3.json")["data"]
            if held_out(q["file_path"], listed) == (split == "val")]

  def example(self, raw, record):
    path = f"{record['folder']}/{record['file_path']}"
    if record["file_path"].startswith("coco-text/"):
      path = record["file_path"].replace("coco-text/", "train2014/", 1)
    return dict(question_id=record["question_id"], filename=record["file_path"],
                question=record["question"], answers=record["answers"], image=raw.image(path))


def held_out(file_path, listed=None):
  """Whether an image of train belongs to val: those `listed`, or without a list one in ten."""
  if listed is not None:
    return file_path in listed
  return int(hashlib.md5(file_path.encode()).hexdigest(), 16) % 10 == 0
