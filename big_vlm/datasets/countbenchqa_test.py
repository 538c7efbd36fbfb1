"""CountBenchQA: questions go with rows by their place; lost and gray images are left out."""
import io

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image


def table(images):
  out = io.BytesIO()
  pyarrow.parquet.write_table(pyarrow.Table.from_pylist([
      {"image": image and {"bytes": image, "path": None}, "text": f"{i} cats", "number": i,
       "image_url": f"http://x/{i}"} for i, image in enumerate(images)]), out)
  return out.getvalue()


def files_of(images, questions):
  return {"train-00000-of-00001-cf54c241ba947306.parquet": table(images),
          "countbench_paired_questions.json": [{"question": f"How many {i}?"} for i in questions]}


def test_release(release, picture):
  gray = io.BytesIO()
  Image.new("L", (8, 6)).save(gray, "JPEG")
  images = [picture(0), None, gray.getvalue(), picture(3, "PNG")]
  examples = {x["image_id"]: x for x in release("countbenchqa", files_of(images, range(4)))
              ["huggingface"]}
  assert set(examples) == {0, 3}
  last = examples[3]
  assert (last["question"], last["text"], last["number"]) == ("How many 3?", "3 cats", 3)
  assert last["image"] == picture(3, "PNG") and last["image_url"] == "http://x/3"


def test_other_questions_are_an_error(release, picture):
  with pytest.raises(ValueError, match="2 questions for 3"):
    release("countbenchqa", files_of([picture()] * 3, range(2)))
