import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pp.builder import get_preprocess_fn

ZIC_MILD = ("zoomout(max_f=1.5, key='image', bboxkey='objects/bbox', auxkeys=['objects/mask'])|"
            "inception_box(area=(0.1, 1.0), aspect=(0.75, 1.33), min_obj_cover=1.0, "
            "bboxkey='objects/bbox')|box_crop_bbox|box_crop_img(key='objects/mask')|"
            "box_crop_img(key='image')")


def run(pp, seed=0, **example):
  return get_preprocess_fn(pp)({"_rng": np.random.default_rng(seed), **example})


def scene(box=(0.25, 0.25, 0.5, 0.75), height=40, width=60):
  """A gray image with a white rectangle in its box, the box, and a mask of the rectangle."""
  box = np.array(box, np.float32)
  top, left, bottom, right = np.round(box * [height, width, height, width]).astype(int)
  image = np.full((height, width, 3), 90, np.uint8)
  image[top:bottom, left:right] = 255
  return {"image": image, "bbox": box, "mask": (image[..., :1] == 255).astype(np.uint8) * 255}


def pixel_box(box, shape):
  return np.round(np.array(box) * [*shape[:2], *shape[:2]]).astype(int).tolist()


def found(picture):
  """The pixel box of what is white in an image or mask."""
  y, x = np.nonzero(picture[..., 0] == 255)
  return [y.min(), x.min(), y.max() + 1, x.max() + 1] if len(y) else None


def test_box_crop_takes_the_image_the_mask_and_the_boxes_along():
  s = scene()
  other = np.array([[0, 0, 1, 1], [0.25, 0.25, 0.5, 0.5], [0.9, 0.9, 1, 1]], np.float32)
  got = run("box_crop(margin=0.5, bboxkey='others', auxkeys=['mask'])", **s, others=other)
  assert got["image"].shape == (20, 60, 3) and got["mask"].shape == (20, 60, 1)
  np.testing.assert_allclose(got["bbox"], [0.25, 0.25, 0.75, 0.75], atol=1e-6)
  np.testing.assert_allclose(got["others"], [[0, 0, 1, 1], [0.25, 0.25, 0.75, 0.5],
                                             [1, 0.9, 1, 1]], atol=1e-6)
  assert found(got["image"]) == found(got["mask"]) == pixel_box(got["bbox"], got["image"].shape)


def test_what_is_out_of_sight_is_dropped_with_its_label():
  others = np.array([[0, 0, 1, 1], [0.3, 0.3, 0.5, 0.5], [0.9, 0.9, 1, 1]], np.float32)
  pp = "box_crop(bboxkey='others', labelkeys=['labels', 'area'], min_visible={})"
  kept = lambda least: run(pp.format(least), **scene(), others=others, labels=["a", "b", "c"],
                           area=np.arange(3))
  got = kept(0)
  assert got["labels"] == ["a", "b"] and got["area"].tolist() == [0, 1]
  assert got["others"].shape == (2, 4)
  assert kept(0.5)["labels"] == ["b"]  # of "a" an eighth is left


UNIT = st.floats(0, 1, width=32)


@given(st.tuples(UNIT, UNIT, UNIT, UNIT), st.floats(0, 2), st.integers(0, 9))
def test_any_box_gives_an_image(box, margin, seed):
  box = (*np.minimum(box[:2], box[2:]), *np.maximum(box[:2], box[2:]))
  got = run(f"box_crop(margin={margin}, jitter=0.3)", seed, **{**scene(), "bbox": np.array(box)})
  assert min(got["image"].shape) > 0 and (0 <= got["bbox"]).all() and (got["bbox"] <= 1).all()


@pytest.mark.parametrize("seed", range(12))
def test_zoomout_makes_the_object_smaller_where_its_box_says(seed):
  s = scene()
  got = run("zoomout(max_f=2, bboxkey='bbox', auxkeys=['mask'])", seed, **s)
  height, width = got["image"].shape[:2]
  assert 40 <= height <= 80 and 60 <= width <= 120 and got["mask"].shape[:2] == (height, width)
  assert found(got["image"]) == found(got["mask"]) == pixel_box(got["bbox"], got["image"].shape)
  assert set(np.unique(got["image"])) <= {90, 127, 255} and set(np.unique(got["mask"])) <= {0, 255}


@pytest.mark.parametrize("seed", range(25))
def test_the_pieces_of_zic_mild_keep_the_object_whole_and_in_place(seed):
  s = scene()
  png = io.BytesIO()
  Image.fromarray(s["mask"][..., 0]).save(png, "PNG")
  mask = png.getvalue() if seed % 2 else s["mask"]  # encoded masks are decoded on the way
  got = run(ZIC_MILD, seed, image=s["image"],
            **{"objects/bbox": s["bbox"], "objects/mask": mask})
  assert got["image"].shape[:2] == got["objects/mask"].shape[:2]
  assert found(got["image"]) == found(got["objects/mask"]) == pixel_box(
      got["objects/bbox"], got["image"].shape)
  assert (got["image"] == 255).sum() == (s["image"] == 255).sum()  # nothing of it is cut


def test_inception_box_covers_as_much_of_a_box_as_asked():
  s, cover = scene(), []
  for seed in range(60):
    box = run("inception_box(area=(0.1, 0.5), min_obj_cover=0.4, bboxkey='bbox')", seed, **s)["box"]
    shared = np.prod(np.maximum(np.minimum(box[2:], s["bbox"][2:])
                                - np.maximum(box[:2], s["bbox"][:2]), 0))
    cover.append(shared / 0.125)
    assert 0.09 < np.prod(box[2:] - box[:2]) < 0.51
  assert min(cover) >= 0.4 - 1e-5 and min(cover) < 0.7
  whole = run("inception_box(area=(0.05, 0.06), min_obj_cover=1, bboxkey='bbox')", **s)["box"]
  np.testing.assert_array_equal(whole, [0, 0, 1, 1])
  assert run("inception_box", image=s["image"])["box"].dtype == np.float32


@pytest.mark.parametrize("pp, complaint", [
    ("zoomout(0.5)", "max_f=0.5 is less than 1"),
    ("inception_box(area=(0.5, 2))", "is not within 0..1"),
    ("box_crop(labelkeys=['a'])", "labelkeys go with one bboxkey"),
])
def test_errors_when_building(pp, complaint):
  with pytest.raises(ValueError, match=complaint):
    get_preprocess_fn(pp)


@pytest.mark.parametrize("pp, changes, complaint", [
    ("box_crop", {"bbox": np.zeros((2, 4))}, "'bbox' must be one box"),
    ("box_crop", {"bbox": np.array([0, 0, 1, np.nan])}, "four finite numbers"),
    ("box_crop", {"image": b"png"}, "is `decode` before it"),
    ("zoomout(1.5, auxkeys=['mask'])", {"mask": np.zeros((99, 99, 1), np.uint8)}, "image's size"),
    ("box_crop_img", {}, "no key 'box'"),
])
def test_errors_at_run_time(pp, changes, complaint):
  with pytest.raises(ValueError, match=complaint):
    run(pp, **{**scene(), **changes})


@pytest.mark.parametrize("boxes, complaint", [
    ([[10, 20, 110, 220]], r"\[10.0, 20.0, 110.0, 220.0\], not in 0..1 .* box_format\('b', 'xyxy"),
    ([[0, 0, 1, 1], [.5, .5, .2, .2]], r"\[0.5, 0.5, 0.2, 0.2\], which ends before it begins"),
    ([[[.1, .2], [.5, .6]]], r"boxes of four finite numbers, got shape \(1, 2, 2\)"),
    (None, r"boxes of four finite numbers, got shape \(\)")])
@pytest.mark.parametrize("pp", [
    "detect('b')", "caption_box('b')", "box_crop('b')", "box_crop(bboxkey='b')",
    "zoomout(bboxkey='b')", "inception_box(bboxkey='b')", "box_crop_bbox('b', boxkey='bbox')"])
def test_boxes_of_another_format_are_refused(pp, boxes, complaint):
  """Clipped to the image, they would all be its last corner."""
  with pytest.raises(ValueError, match=complaint):
    get_preprocess_fn(pp)({"b": boxes, "objects/label": ["cat"] * 2, "bbox": [0, 0, .5, .5],
                           "caption": "", "image": np.zeros((20, 20, 3), np.uint8),
                           "_rng": np.random.default_rng(0)})


def test_boxes_may_leave_the_image_and_be_empty():
  boxes = np.float32([[-.2, .5, 1.3, .5], [.3, .3, .3, .3 - 1e-8]])
  made = get_preprocess_fn("box_crop_bbox('b', boxkey='whole')")(
      {"b": boxes, "whole": [0, 0, 1, 1]})
  np.testing.assert_allclose(made["b"], np.clip(boxes, 0, 1))
