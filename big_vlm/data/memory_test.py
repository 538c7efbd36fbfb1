import io

import numpy as np
import pytest
from PIL import Image

from big_vlm.data import source
from big_vlm.data.memory import Memory

TEXT = {"prefix": "ocr", "suffix": "7"}


@pytest.fixture
def image(rng):
  return rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)


@pytest.fixture
def path(image, tmp_path):
  Image.fromarray(image).save(tmp_path / "x.png")
  return tmp_path / "x.png"


def test_every_kind_of_image_gives_the_same_pixels(image, path):
  kinds = [image, Image.open(path), path, str(path), path.read_bytes(),
           image / 127.5 - 1, (image / 127.5 - 1).astype(np.float32)]
  examples = source.get("memory", examples=[{"image": kind, **TEXT} for kind in kinds])
  assert len(examples) == len(kinds)
  for i in range(len(examples)):
    x = examples[i]
    assert x["_id"] == str(i) and x["suffix"] == "7"
    np.testing.assert_array_equal(x["image"], image)


def test_several_images_one_or_none(image):
  examples = Memory([{"images": [image, image], "note": 1}, {"images": (image,)}, {"images": []},
                     TEXT])
  assert [len(examples[i].get("image", "")) for i in range(4)] == [2, 1, 0, 0]
  assert examples[0]["note"] == 1 and "images" not in examples[0]
  assert examples[3] == {**TEXT, "_id": "3"}


@pytest.mark.parametrize("bad,message", [
    ("caption", "Example 1 is a str, not a dict"),
    ({"image": 3}, "Example 1: .* image, got int"),
    ({"image": None}, "Example 1: .* image, got NoneType"),
    ({"image": b"no png"}, "Example 1: cannot decode image"),
    ({"image": "nowhere.png"}, "Example 1: Cannot read the image nowhere.png: No such file"),
    ({"image": np.zeros((4, 4), np.uint8)}, r"Example 1: An image array is \[H, W, 3\], not"),
    ({"image": np.zeros((4, 4, 3), np.int64)}, "Example 1: .* int64"),
    ({"image": np.full((2, 2, 3), 200.)}, "Example 1: .* not 200..200: give uint8"),
    ({"image": np.full((2, 2, 3), np.nan)}, "Example 1: .* not nan..nan"),
    ({"image": b"", "images": []}, "Example 1 has both 'image' and 'images'"),
    ({"images": b"png"}, "Example 1: 'images' is a list of images, not a bytes"),
    ({"images": "x.png"}, "Example 1: 'images' is a list of images, not a str"),
])
def test_a_bad_example_is_named(bad, message):
  with pytest.raises((ValueError, OSError), match=message):
    Memory([TEXT, bad])[1]


@pytest.mark.parametrize("examples,message", [
    ([], "the list is empty"), ({}, "not a dict"), ("x.jsonl", "not a str"),
    ((x for x in [TEXT]), "not a generator")])
def test_examples_are_a_list(examples, message):
  with pytest.raises(ValueError, match=message):
    Memory(examples)


def test_a_truncated_pil_image_is_named(path):
  whole = path.read_bytes()
  image = Image.open(io.BytesIO(whole[:len(whole) // 2]))
  with pytest.raises(ValueError, match="Example 1: the PIL image cannot be read"):
    Memory([TEXT, {"image": image}])
