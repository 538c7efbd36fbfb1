"""ai2d: AI2D, multiple-choice questions on diagrams from school books.

Kembhavi et al., 2016; 4,903 diagrams, about 0.5 GB. From
https://prior.allenai.org/projects/diagram-understanding: ai2d-all.zip, unzipped, and the ids of the
test diagrams, https://s3-us-east-2.amazonaws.com/prior-datasets/ai2d_test_ids.csv. The font is DM
Sans, https://github.com/googlefonts/dm-fonts/raw/main/Sans/fonts/ttf/DMSans-Regular.ttf:

  ai2d/questions/0.png.json   ai2d/annotations/0.png.json   ai2d/images/0.png
  ai2d_test_ids.csv           DMSans-Regular.ttf

If a question refers to parts by letters (abcLabel), the builder paints these letters over the
diagram's texts, black on white, as large as the box of the text and 100 pixels allow.
"""
import functools
import io
import pathlib

from PIL import Image, ImageDraw, ImageFont

from big_vlm.datasets import base


class Ai2d(base.Builder):
  FEATURES = dict(
      id=base.TEXT, question=base.TEXT, label=base.INT, answer=base.TEXT,
      possible_answers=base.TEXTS, abc_label=base.BOOL, image_name=base.TEXT, image=base.IMAGE)
  SPLITS = ("train", "test")
  COUNTS = {"test": 3088}

  def records(self, raw, split):
    test = set(raw.text("ai2d_test_ids.csv").split())
    found = []
    for name in raw.glob("ai2d/questions/*.json"):
      if (pathlib.Path(name).name.split(".")[0] in test) == (split == "test"):
        page = raw.json(name)
        found += [(q["questionId"], {**q, "question": text, "image_name": page["imageName"]})
                  for text, q in page["questions"].items()]
    return found

  def example(self, raw, record):
    name, label = record["image_name"], int(record["correctAnswer"])
    image = raw.image(f"ai2d/images/{name}")
    if record["abcLabel"]:
      texts = raw.json(f"ai2d/annotations/{name}.json")["text"].values()
      image = lettered(image, texts, raw.path("DMSans-Regular.ttf"))
    return dict(id=record["questionId"], question=record["question"], label=label,
                answer=record["answerTexts"][label], possible_answers=record["answerTexts"],
                abc_label=record["abcLabel"], image_name=name, image=image)


def lettered(image, texts, font_path):
  """The bytes of a PNG of the image with the replacementText of each text in its rectangle."""
  image = Image.open(io.BytesIO(image), formats=base.FORMATS).convert("RGB")
  draw = ImageDraw.Draw(image)
  for text in texts:
    letter = text["replacementText"]
    (x0, x1), (y0, y1) = map(sorted, zip(*text["rectangle"]))
    draw.rectangle((x0, y0, x1, y1), fill="white")
    for size in range(100, 0, -1):
      _, _, width, height = _font(font_path, size).getbbox(letter)
      if width <= x1 - x0 and height <= y1 - y0:
        break
    draw.text((x0 + (x1 - x0 - width) // 2, y0), letter, fill="black", font=_font(font_path, size))
  return base.png(image)


@functools.cache
def _font(path, size):
  return ImageFont.truetype(str(path), size)
