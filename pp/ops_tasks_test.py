import re

import numpy as np
import pytest

from pp.builder import get_preprocess_fn


def shuffled(seed, **example):
  fn = get_preprocess_fn("sci_qa_choices_shuffle")
  return fn({"_rng": np.random.default_rng(seed), **example})


@pytest.mark.parametrize("choices", [["up", "down", "left"], [b"up", b"down", b"left"],
                                     np.array(["up", "down", "left"], object)])
def test_choices_are_shuffled_and_the_answer_follows(choices):
  seen = set()
  for seed in range(60):
    got = shuffled(seed, choices=choices, answer=np.int32(1))
    pairs = re.findall(r"\((.)\) (\w+)", got["indexed_choices"])
    assert got["indexed_choices"] == ", ".join(f"({a}) {c}" for a, c in pairs)
    assert [a for a, _ in pairs] == ["A", "B", "C"]
    assert dict(pairs)[got["indexed_answer"]] == "down" and got["choices"] is choices
    seen.add(got["indexed_choices"])
  assert len(seen) == 6


def test_no_answer_and_too_many_choices():
  assert shuffled(0, choices=["a"], answer=-1)["indexed_answer"] == ""
  with pytest.raises(ValueError, match="27 choices are more than there are letters"):
    shuffled(0, choices=["a"] * 27, answer=0)


def test_draw_bbox():  # beside TensorFlow: tf_images_test.py
  image = np.zeros((6, 8, 3), np.uint8)
  got = get_preprocess_fn("draw_bbox")({"image": image, "bbox": [0.2, 0.2, 0.9, 0.6]})["image"]
  assert got.dtype == np.float32 and not image.any()
  np.testing.assert_array_equal(got[..., 0] == 255, [[0, 0, 0, 0, 0, 0, 0, 0],
                                                     [0, 1, 1, 1, 1, 0, 0, 0],
                                                     [0, 1, 0, 0, 1, 0, 0, 0],
                                                     [0, 1, 0, 0, 1, 0, 0, 0],
                                                     [0, 1, 1, 1, 1, 0, 0, 0],
                                                     [0, 0, 0, 0, 0, 0, 0, 0]])
  assert not got[..., 1:].any()


@pytest.mark.parametrize("shape, box", [((1, 9, 3), [0, 0, 1, 1]), ((4, 4, 1), [0, 0, 1, 1]),
                                        ((1, 1, 3), [.5, .5, .5, .5])])
def test_thin_images_keep_their_shape(shape, box):
  got = get_preprocess_fn("draw_bbox")({"image": np.zeros(shape, np.uint8), "bbox": box})["image"]
  assert got.shape == shape and got.max() == 255


def test_draw_bbox_refuses():
  with pytest.raises(ValueError, match=r"got shapes \(4, 4, 3\) and \(2, 4\)"):
    get_preprocess_fn("draw_bbox")({"image": np.zeros((4, 4, 3)), "bbox": np.zeros((2, 4))})
