"""icdar15: ICDAR 2015 incidental scene text, words in photographs of streets and shops.

Karatzas et al., 2015, challenge 4. From https://rrc.cvc.uab.es/?ch=4&com=downloads (after
registration) the images (88 + 43 MB) and the ground truth of tasks 4.1 (training) and 4.4 (test),
each of the four archives unzipped to a folder of its name:

  ch4_training_images/img_1.jpg    ch4_training_localization_transcription_gt/gt_img_1.txt
  ch4_test_images/img_1.jpg        Challenge4_Test_Task4_GT/gt_img_1.txt

A line is x1,y1,x2,y2,x3,y3,x4,y4,word. "objects" are the legible words, "ignored" the others
("###"), which evaluations ignore. A polygon is the JSON of [[x, y], ...] in 0..1 of the image; the
bbox is the upright box around it.
"""
import json
import re

from big_vlm.datasets import base

FOLDERS = {"train": ("ch4_training_images", "ch4_training_localization_transcription_gt"),
           "test": ("ch4_test_images", "Challenge4_Test_Task4_GT")}
WORDS = {"image": base.IMAGE, "image/id": base.TEXT,
         "objects": base.f.Sequence(dict(label=base.TEXT, bbox=base.BOX, polygon=base.TEXT)),
         "ignored": base.f.Sequence(dict(bbox=base.BOX, polygon=base.TEXT))}


class Icdar15(base.Builder):
  FEATURES = WORDS
  SPLITS = tuple(FOLDERS)
  COUNTS = {"train": 1000, "test": 500}

  def records(self, raw, split):
    images, texts = FOLDERS[split]
    names = {stem.removeprefix("gt_"): file
             for stem, file in raw.stems(f"{texts}/gt_img_*.txt").items()}
    return [(name, {"id": name, "image": f"{images}/{name}.jpg", "file": file})
            for name, file in names.items()]

  def example(self, raw, record):
    return example(raw, record, _words(raw.text(record["file"]), record["file"]))


def example(raw, record, words):
  """Returns the features WORDS of an image.

  Args:
    raw: base.Raw.
    record: a dict with the "id" and the file name, "image", of the image.
    words: iterable of (points in pixels, text); the text of an illegible word is None.
  """
  image = raw.image(record["image"])
  size = base.image_size(image)
  objects, ignored = [], []
  for points, text in words:
    place = dict(bbox=base.box([c for point in points for c in point], size),
                 polygon=json.dumps([[round(c / side, 6) for c, side in zip(point, size)]
                                     for point in points]))
    if text is None:
      ignored.append(place)
    else:
      objects.append({"label": text, **place})
  return {"image": image, "image/id": record["id"], "objects": objects, "ignored": ignored}


def _words(text, file):
  for n, line in enumerate(text.split("\n"), 1):
    if line.strip():
      if not (found := re.fullmatch(r"((?:-?\d+,){8})(.*?)\r?", line)):  # a word may hold commas
        raise ValueError(f"{file}, line {n} is not x1,y1,x2,y2,x3,y3,x4,y4,word: {line!r}.")
      corners = [int(c) for c in found[1].split(",")[:8]]
      yield list(zip(corners[::2], corners[1::2])), None if found[2] == "###" else found[2]
