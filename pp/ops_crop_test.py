import io

import numpy as np
import pytest
from PIL import Image

from pp.builder import get_preprocess_fn
from pp.decode import decode_image
from pp.ops_crop import random_box


def grid(height, width):
  """An image whose pixels name their place: (row, column, 0)."""
  y, x = np.mgrid[:height, :width]
  return np.stack([y, x, np.zeros_like(x)], -1).astype(np.uint8)


def run(pp, image, seed=0, **more):
  return get_preprocess_fn(pp)({"image": image, "_rng": np.random.default_rng(seed), **more})


def place(crop):
  return int(crop[0, 0, 0]), int(crop[0, 0, 1])


def test_random_crop_reaches_every_place_and_cuts_one_piece():
  image, places = grid(5, 6), set()
  for seed in range(100):
    crop = run("random_crop([4, 3])", image, seed)["image"]
    top, left = place(crop)
    np.testing.assert_array_equal(crop, image[top:top + 4, left:left + 3])
    places.add((top, left))
  assert places == {(t, s) for t in range(2) for s in range(4)}


def test_frames_are_cut_alike_and_lists_apart():
  frames = np.stack([grid(9, 9)] * 3)
  crop = run("random_crop(4)", frames)["image"]
  assert crop.shape == (3, 4, 4, 3) and (crop == crop[:1]).all()
  crops = run("random_crop(2)", [grid(90, 90)] * 4)["image"]
  assert len({place(c) for c in crops}) == 4
  assert run("inception_crop(7)", frames)["image"].shape == (3, 7, 7, 3)
  assert run("central_crop(3)", frames)["image"].shape == (3, 3, 3, 3)
  assert [c.shape for c in run("central_crop", [grid(3, 9), grid(8, 5)])["image"]] == [
      (3, 3, 3), (5, 5, 3)]


@pytest.mark.parametrize("args, want", [("", (0, 2, 5, 5)), ("2", (1, 4, 2, 2)),
                                        ("[3, 8]", (1, 1, 3, 8))])
def test_central_crop(args, want):
  crop = run(f"central_crop({args})", grid(5, 10))["image"]
  assert (*place(crop), *crop.shape[:2]) == want


@pytest.mark.parametrize("height, width", [(48, 64), (64, 48), (7, 200), (1, 1), (3, 2)])
@pytest.mark.parametrize("area", [(0.05, 1), (0.5, 1), (0.2, 0.3)])
def test_random_boxes_are_inside_and_of_the_asked_area_and_aspect(height, width, area):
  rng = np.random.default_rng(0)
  for _ in range(200):
    top, left, h, w = random_box(rng, height, width, area, (3 / 4, 4 / 3))
    assert 0 <= top <= top + h <= height and 0 <= left <= left + w <= width and h and w
    if (h, w) != (height, width):  # the way out where nothing fits
      assert area[0] <= h * w / (height * width) <= area[1]
      assert 0.75 * h - 1 <= w <= 1.34 * h + 1


def test_random_boxes_are_distributed_as_tensorflows():
  rng = np.random.default_rng(0)
  boxes = np.array([random_box(rng, 480, 640, (0.05, 1), (0.75, 1.33)) for _ in range(4000)])
  area = boxes[:, 2] * boxes[:, 3] / (480 * 640)
  # 20,000 boxes of tf.image.sample_distorted_bounding_box: means of area, height and width.
  np.testing.assert_allclose([area.mean(), boxes[:, 2].mean(), boxes[:, 3].mean()],
                             TENSORFLOW, rtol=0.03)


TENSORFLOW = [0.3439, 302.1, 313.3]


def test_inception_crop_resizes_a_part():
  image = grid(40, 60)
  assert run("inception_crop(224, area_min=50)", image)["image"].shape == (224, 224, 3)
  sizes = {run("inception_crop(area_min=20)", image, s)["image"].shape for s in range(20)}
  assert len(sizes) > 10
  whole = run("inception_crop(area_min=100)", image)["image"]  # no such aspect: all of it
  np.testing.assert_array_equal(whole, image)


def test_decode_and_crop_in_one_is_decode_then_crop():
  data = io.BytesIO()
  Image.fromarray(grid(40, 60)).save(data, "JPEG")
  one = run("decode_jpeg_and_inception_crop(16, ratio_max=1.33)", data.getvalue())["image"]
  two = run("inception_crop(16)", decode_image(data.getvalue()))["image"]
  np.testing.assert_array_equal(one, two)


def test_flip_turns_half_of_the_images_and_the_boxes_and_masks_named():
  image, box = grid(4, 6), np.array([[0.1, 0.2, 0.5, 0.6]], np.float32)
  turned = 0
  for seed in range(200):
    got = run("flip_lr(bbox_key='box', mask_key=['mask'])", image, seed, box=box,
              mask=image[..., 0])
    if place(got["image"]) == (0, 0):
      assert got["box"] is box
      continue
    turned += 1
    np.testing.assert_array_equal(got["image"], image[:, ::-1])
    np.testing.assert_array_equal(got["mask"], image[:, ::-1, 0])
    np.testing.assert_allclose(got["box"], [[0.1, 0.4, 0.5, 0.8]], atol=1e-6)
  assert 70 < turned < 130
  many = run("flip_lr", [image] * 5, 1)["image"]
  assert len({place(i) for i in many}) == 1


@pytest.mark.parametrize("pp, image, complaint", [
    ("random_crop(5)", grid(4, 9), "9x4 pixels is smaller than the crop of 5x5; put"),
    ("central_crop([5, 1])", grid(4, 9), "smaller than the crop"),
    ("inception_crop(5)", b"x", "got bytes; is `decode` before it"),
    ("flip_lr", b"x", "is `decode` before it"),
])
def test_errors_at_run_time(pp, image, complaint):
  with pytest.raises(ValueError, match=complaint):
    run(pp, image)


@pytest.mark.parametrize("pp, complaint", [
    ("random_crop(0)", "is not a positive int"),
    ("inception_crop(4, area_min=50, area_max=20)", "is not within 0..100"),
    ("inception_crop(4, method='cubic')", "Did you mean 'bicubic'"),
])
def test_errors_when_building(pp, complaint):
  with pytest.raises(ValueError, match=complaint):
    get_preprocess_fn(pp)
