import pathlib

import numpy as np
import pytest

from pp.builder import get_preprocess_fn, random_ops
from pp.ops_randaug import NAMES, augment

with np.load(pathlib.Path(__file__).parents[1] / "tests/golden/randaug.npz") as file:
  GOLDEN = {k.replace("|", "/"): file[k] for k in file.files}
IMAGE = GOLDEN.pop("image")


def run(pp, image=IMAGE, seed=0):
  return get_preprocess_fn(pp)({"image": image, "_rng": np.random.default_rng(seed)})["image"]


@pytest.mark.parametrize("name", NAMES)
def test_each_change_is_that_of_big_vision(name):
  assert sum(key.startswith(f"{name}/") for key in GOLDEN) >= 5
  for key, want in GOLDEN.items():
    if key.startswith(f"{name}/"):
      magnitude, sign = float(key.split("/")[1].strip("-")), -1 if key.endswith("-") else 1
      got = augment(IMAGE, name, magnitude, sign, np.array([3, 15]))
      np.testing.assert_array_equal(got, want, err_msg=key)


def test_a_seed_draws_the_same_and_all_are_drawn():
  made = [run("randaug(1, 7)", seed=seed) for seed in range(250)]
  assert all((run("randaug(1, 7)", seed=s) == made[s]).all() for s in range(9))
  fixed = {augment(IMAGE, name, 7, sign).tobytes() for name in NAMES[:-1] for sign in (-1, 1)}
  assert fixed <= {image.tobytes() for image in made}  # but for Cutout, which is anywhere
  assert (run("randaug(0)") == IMAGE).all() and random_ops("randaug(2, 10)")


def test_frames_get_the_same_and_images_of_a_list_their_own():
  video = run("randaug(3, 9)", np.stack([IMAGE] * 3))
  assert (video == video[:1]).all() and (video[0] == run("randaug(3, 9)")).all()
  several = [run("randaug", [IMAGE, IMAGE[:9]], seed) for seed in range(3)]
  assert {i[1].shape for i in several} == {(9, *IMAGE.shape[1:])}
  assert any((i[0][:9] != i[1]).any() for i in several)


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (300, 300)])
def test_images_of_any_size(shape):
  image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
  for name in NAMES:
    made = augment(image, name, 30, -1, np.array([0, 0]))
    assert made.shape == image.shape and made.dtype == np.uint8, name


def test_errors():
  with pytest.raises(ValueError, match="num_layers=-1 is not a whole number of 0 or more"):
    get_preprocess_fn("randaug(-1)")
  with pytest.raises(ValueError, match="magnitude=99 is not 0 to 30"):
    get_preprocess_fn("randaug(2, 99)")
  with pytest.raises(ValueError, match="after decode and before value_range"):
    run("value_range(-1, 1)|randaug")
