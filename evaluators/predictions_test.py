"""Predictions survive files and processes: they score the same before and after."""
import io
import json

import numpy as np
import pytest
from PIL import Image

from evaluators.predictions import (
  ResumableWriter,
  gather_in_order,
  majority_class,
  require_keys,
  to_display,
  to_image,
  to_json,
  whole_picture,
)

MASK = np.zeros((90, 80), np.uint8)
MASK[10:40, 20:] = 255


def test_the_whole_picture_is_upright_and_not_what_the_model_sees():
  wide = np.zeros((30, 60, 3), np.uint8)
  wide[:, :9] = 200
  turned, exif = io.BytesIO(), Image.Exif()
  exif[0x0112] = 6  # a quarter to the right
  Image.fromarray(wide).save(turned, "PNG", exif=exif)
  square = np.zeros((16, 16, 3), np.uint8)
  upright = whole_picture({"image": turned.getvalue()}, square)
  np.testing.assert_array_equal(upright, np.rot90(wide, -1))
  assert whole_picture({"image": wide}, wide) is None
  assert whole_picture({"video": b"..."}, square) is None
  assert whole_picture({"image": np.zeros((2, 9, 9, 3), np.uint8)}, square) is None
  two = whole_picture({"image": [turned.getvalue(), wide]}, square)
  assert two.shape == (60, 30 + 120, 3)
  assert whole_picture({"image": np.zeros((500, 2000, 3), np.uint8)}, square).shape == (84, 336, 3)


@pytest.mark.parametrize("value, want", [
    (b"caf\xc3\xa9\xe2\x80\xa8", "café\u2028"),
    (np.array(["a", b"bc"], object), ["a", "bc"]),
    ((np.int64(3), np.float32(.5), np.bool_(True), None), [3, .5, True, None]),
    ({"x": [np.array(["é"], object), np.array(2)]}, {"x": [["é"], 2]}),
    (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
    (np.ones((2, 2), np.uint8), [[1, 1], [1, 1]]),
])
def test_to_json(value, want):
  got = to_json(value)
  assert got == want and json.loads(json.dumps(got)) == got


@pytest.mark.parametrize("mask", [MASK, MASK[..., None], MASK > 0])
def test_images_come_back_from_json(mask):
  text = json.dumps(to_json(mask))
  assert len(text) < 1000
  np.testing.assert_array_equal(to_image(json.loads(text)) > 0, MASK > 0)
  np.testing.assert_array_equal(to_image(to_json(MASK[::9, ::9])), MASK[::9, ::9])


def test_images_to_look_at():
  frames = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((6, 2, 2, 3), np.uint8)
  got = to_display(frames)
  assert got.shape == (2, 8, 3) and got[0, ::2, 0].tolist() == [0, 1, 3, 5]
  np.testing.assert_array_equal(to_display(np.array([[[-1., 0., 1.]]])), [[[0, 128, 255]]])


def test_a_missing_key_is_named_with_the_prediction_and_a_near_miss():
  with pytest.raises(ValueError, match="scores by 'answers', which the prediction 7 lacks. Did you "
                     r"mean 'answer'\? It has id, answer"):
    require_keys([{"id": 7, "answer": "x"}], ["answers"], "vqa")
  with pytest.raises(ValueError, match="The evaluator 'vqa' has nothing to score"):
    require_keys([], ["answers"], "vqa")


def test_predictions_of_all_processes_each_once():
  assert gather_in_order({3: "b", 2: "a"}, [2, 3]) == ["a", "b"]
  with pytest.raises(AssertionError):
    gather_in_order({3: "b"}, [2, 3])


def test_a_killed_writer_resumes(tmp_path):
  path, made = tmp_path / "a" / "ocr.jsonl", [{"id": 1, "text": "\u2028é"}, {"id": 2}]
  writer = ResumableWriter(path, "k")
  writer.add([{**made[0], "image": MASK}])
  writer.add(made[1:])
  again = lambda key: ResumableWriter(path, key).predictions
  assert again("k") == made
  path.write_text(path.read_text()[:-3])  # killed while it wrote
  assert again("k") == again("k") == made[:1]
  assert again("other") == again("k") == []


def test_the_majority_class():
  def answers(*pairs):
    return majority_class([dict(suffix=s, prefix=p) for s, p in pairs])
  assert answers(("yes", "x"), ("no", "x"), ("no", "x"), ("yes", "x")) == ["yes"] * 4  # right: 50 %
  assert answers(("2", "how many?"), ("1", "how many?"), ("2", "how many?"), ("7", "asked once"),
                 ("red", "colour?"), ("red", "colour?"), ("2", "how many?")) == [
                     "2", "2", "2", "2", "red", "red", "2"]
  assert answers(("a", "x"), ("b", "y")) == ["a", "a"] and answers() == []
