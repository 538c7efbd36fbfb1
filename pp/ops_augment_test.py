import numpy as np
import pytest

from pp.builder import get_preprocess_fn
from pp.ops_augment import METHODS
from pp.resampling import resize_image

IMAGE = resize_image((np.random.default_rng(0).random((6, 8, 3)) * 255).astype(np.uint8), (24, 32))


def draws(pp, count, image=IMAGE):
  fn = get_preprocess_fn(pp)
  return [fn({"image": image, "_rng": np.random.default_rng(s)})["image"] for s in range(count)]


def test_resize_r_is_one_of_the_resizes():
  known = {resize_image(IMAGE, (8, 9), m, a).tobytes() for m in METHODS for a in (False, True)}
  got = {i.tobytes() for i in draws("resize_r([8, 9])", 150)}
  assert got == known and len(known) == 9  # area knows no antialias


def test_random_jpeg_changes_a_little_with_the_given_probability():
  got = draws("random_jpeg(0.3)", 200)
  changed = [i for i in got if (i != IMAGE).any()]
  assert 40 < len(changed) < 80 and len({i.tobytes() for i in changed}) > 15
  assert all(i.dtype == np.uint8 and i.shape == IMAGE.shape for i in got)
  assert all(0 < np.abs(i.astype(int) - IMAGE).mean() < 30 for i in changed)
  assert (draws("random_jpeg(0)", 1)[0] == IMAGE).all()
  assert (draws("random_jpeg(1)", 1)[0] != IMAGE).any()


def test_random_jpeg_treats_gray_and_lists():
  assert draws("random_jpeg(1)", 1, IMAGE[..., :1])[0].shape == (24, 32, 1)
  assert len(draws("random_jpeg(1)", 1, [IMAGE, IMAGE[:9]])[0]) == 2


def test_errors():
  with pytest.raises(ValueError, match="p=2 is not a probability"):
    get_preprocess_fn("random_jpeg(2)")
  with pytest.raises(ValueError, match="after decode and before value_range"):
    draws("random_jpeg(1)", 1, IMAGE / np.float32(255))
