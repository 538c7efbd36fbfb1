"""Ours beside TensorFlow's, from the goldens that tests/golden/make_tf_images.py wrote."""
import pathlib

import numpy as np
import pytest

from pp.builder import get_preprocess_fn
from pp.decode import decode_image
from pp.resampling import resize_image

FOLDER = pathlib.Path(__file__).parents[1] / "tests/golden/tf_images"


def load(name):
  with np.load(FOLDER / f"{name}.npz") as file:
    return {k.replace("|", "/"): file[k] for k in file.files}


DECODE, RESIZE, OPS = load("decode"), load("resize"), load("ops")


def run(pp, image, **more):
  return get_preprocess_fn(pp)({"image": image, **more})["image"]


@pytest.mark.parametrize("name", [k.removesuffix("/image") for k in DECODE if "/image" in k])
def test_decode(name):
  got = decode_image(DECODE[f"{name}/data"].tobytes())
  np.testing.assert_array_equal(got, DECODE[f"{name}/image"])


@pytest.mark.parametrize("name", [k for k in DECODE if k.endswith(("/precise", "/gray"))])
def test_decode_precise_and_gray(name):
  file, way = name.split("/")
  data = DECODE[f"{file}/data"].tobytes()
  got = decode_image(data, precise=True) if way == "precise" else decode_image(data, channels=1)
  difference = np.abs(got.astype(int) - DECODE[name])
  # Gray of a colour PNG: TensorFlow and Pillow weigh the colours alike but round apart.
  assert difference.max() <= (way == "gray" and file == "png")


@pytest.mark.parametrize("name", [k for k in RESIZE if k != "image" and "flat" not in k])
def test_resize(name):
  method, antialias, size = name.split("/")
  size = tuple(map(int, size.split("x")))
  want, image = RESIZE[name], RESIZE["image"]
  got = resize_image(image.astype(np.float32), size, method, antialias == "True")
  np.testing.assert_allclose(got, want, atol=1e-3)
  exact = "lanczos" not in method  # whose sines are rounded apart
  assert (got == want).all() or not exact
  want = np.clip(want, 0, 255).astype(np.uint8)
  got = resize_image(image, size, method, antialias == "True")
  difference = got.astype(int) - want
  assert got.dtype == np.uint8 and np.abs(difference).max() <= 1
  assert np.abs(difference).mean() <= (0 if exact else 0.01)


@pytest.mark.parametrize("name", [k for k in RESIZE if "flat" in k])
def test_flat_images_lose_a_level_where_they_do_in_tensorflow(name):
  _, method, antialias, level = name.split("/")
  image = np.full((31, 45, 3), int(level), np.uint8)
  got = resize_image(image, (11, 70), method, antialias == "True")
  difference = got[..., 0].astype(int) - RESIZE[name]
  assert np.abs(difference).max() <= 1
  assert (difference != 0).mean() <= (0.05 if "lanczos" in method else 0)


@pytest.mark.parametrize("pp", [k for k in OPS if k != "image" and "/" not in k])
def test_ops(pp):
  got, want = run(pp, OPS["image"]), OPS[pp]
  assert got.dtype == want.dtype and got.shape == want.shape
  if want.dtype == np.uint8:
    assert np.abs(got.astype(int) - want).max() <= 0
  else:
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("box", [k.split("/")[1] for k in OPS if "/" in k])
def test_draw_bbox(box):
  got = run("draw_bbox", OPS["image"], bbox=np.array(box.split(","), np.float32))
  np.testing.assert_array_equal(got, OPS[f"draw_bbox/{box}"])


def test_huge_images():
  huge = load("huge")
  for name in ("jpeg", "png"):
    image = decode_image(huge[name].tobytes())
    assert image.shape == (6000, 8000, 3)
    for antialias in (False, True):
      got = resize_image(image, (20, 24), antialias=antialias)[..., 0]
      difference = got.astype(int) - huge[f"{name}/{antialias}"]
      assert np.abs(difference).max() <= 1 and np.abs(difference).mean() <= 0.05
