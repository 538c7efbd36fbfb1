import io

import numpy as np
import pytest
from PIL import Image

from pp.builder import get_preprocess_fn
from pp.decode import ORIENTATION

IMAGE = np.zeros((50, 200, 3), np.uint8)
WANT = [0.2, 0.1, 0.6, 0.4]  # ymin 10, xmin 20, ymax 30, xmax 80 in pixels


def run(pp, **example):
  return get_preprocess_fn(pp)({"image": IMAGE, **example})


@pytest.mark.parametrize("format, box", [
    ("yxyx", WANT),
    ("xyxy", [0.1, 0.2, 0.4, 0.6]),
    ("xyxy_pixels", [20, 10, 80, 30]),
    ("xywh_pixels", [20, 10, 60, 20]),
    ("yxhw_pixels", [10, 20, 20, 60]),
    ("cxcywh", [0.25, 0.4, 0.3, 0.4]),
    ("cxcywh_pixels", [50, 20, 60, 20]),
    ("xyxy_percent", [10, 20, 40, 60]),
])
def test_box_format(format, box):
  for value in (box, np.array(box, np.float32), [box, box]):
    got = run(f"box_format('b', {format!r}, outkey='bbox')", b=value)["bbox"]
    assert got.dtype == np.float32 and got.shape == np.shape(value)
    np.testing.assert_allclose(got, np.broadcast_to(WANT, got.shape), atol=1e-6)


def test_the_size_comes_from_the_file_or_from_keys():
  data = io.BytesIO()
  Image.fromarray(IMAGE).save(data, "PNG")
  pp = "box_format('b', 'xyxy_pixels'{})"
  for image in (data.getvalue(), np.array(data.getvalue(), object), IMAGE[None]):
    got = run(pp.format(""), b=[20, 10, 80, 30], image=image)["b"]
    np.testing.assert_allclose(got, WANT, atol=1e-6)
  got = run(pp.format(", size=['h', 'w']"), b=[20, 10, 80, 30], h=100, w=400)["b"]
  np.testing.assert_allclose(got, np.array(WANT) / 2, atol=1e-6)


def test_no_boxes_and_boxes_that_stick_out():
  for none in ([], np.zeros((0, 4)), np.zeros(0, np.float32)):
    assert run("box_format('b', 'xywh_pixels')", b=none)["b"].shape == (0, 4)
  np.testing.assert_allclose(run("box_format('b', 'xywh_pixels')", b=[-5, 40, 300, 30])["b"],
                             [0.8, 0, 1, 1])


@pytest.mark.parametrize("pp, value, complaint", [
    ("box_format('b', 'xyxy_pixels')", [80, 10, 20, 30], "ends before it begins"),
    ("box_format('b', 'xyxy_pixels')", [1, 2, 3], r"got shape \(3,\)"),
    ("box_format('b', 'xyxy_pixels')", [1, 2, 3, np.nan], "four finite numbers"),
    ("box_format('b', 'xyxy_pixels', image='b')", [1, 2, 3, 4], "cannot tell the size"),
    ("polygon_mask('b')", [[1, 2, 3, 4]], "of three points at least"),
    ("polygon_mask('b')", {"counts": [10000], "size": [9, 9]}, "run lengths of size"),
    ("polygon_mask('b')", {"counts": [9999], "size": [50, 200]}, "and sum 9999 in"),
    ("polygon_mask('b')", {"counts": [-1, 10001], "size": [50, 200]}, "run lengths of size"),
])
def test_errors(pp, value, complaint):
  with pytest.raises(ValueError, match=complaint):
    run(pp, b=value)


def test_an_unknown_format_offers_the_nearest():
  with pytest.raises(ValueError, match="Did you mean 'xywh_pixels'"):
    get_preprocess_fn("box_format('b', 'xywh_pixel')")


SQUARE = [20, 10, 80, 10, 80, 30, 20, 30]


def test_polygons_become_masks():
  mask = run("polygon_mask(outkey='mask')", segmentation=[SQUARE])["mask"]
  assert mask.dtype == np.uint8 and mask.shape == (50, 200)
  want = np.zeros((50, 200), np.uint8)
  want[10:30, 20:80] = 255
  np.testing.assert_array_equal(mask, want)
  two = run("polygon_mask", segmentation=[SQUARE, [100, 0, 110, 0, 110, 5, 100, 5]])
  assert (two["segmentation"] > 0).sum() == 60 * 20 + 50
  np.testing.assert_array_equal(run("polygon_mask", segmentation=SQUARE)["segmentation"], want)


def test_run_lengths_become_masks():
  want = np.zeros((50, 200), np.uint8)
  want[10:30, 20:80] = 255
  counts, last, length = [], 0, 0
  for value in (want.T.ravel() > 0).astype(int).tolist():
    if value != last:
      counts.append(length)
      last, length = value, 0
    length += 1
  runs = {"counts": [*counts, length], "size": [50, 200]}
  np.testing.assert_array_equal(run("polygon_mask", segmentation=runs)["segmentation"], want)
  several = run("polygon_mask", segmentation=[runs, runs])["segmentation"]
  assert isinstance(several, list) and len(several) == 2
  several = run("polygon_mask", segmentation=[[SQUARE], [SQUARE, SQUARE]])["segmentation"]
  assert len(several) == 2 and (several[1] == want).all()
  assert run("polygon_mask", segmentation=[])["segmentation"] == []


def test_compressed_run_lengths():
  from pycocotools import mask as coco
  value = np.zeros((50, 200), np.uint8, order="F")
  value[3:9, 5:50] = 1
  value[20:, 100] = value[7, ::3] = 1
  runs = coco.encode(value)
  for counts in (runs["counts"], runs["counts"].decode()):
    got = run("polygon_mask", segmentation={"counts": counts, "size": [50, 200]})
    np.testing.assert_array_equal(got["segmentation"], value * 255)


def test_polygons_outside_the_image_and_broken_run_lengths():
  got = run("polygon_mask", segmentation=[[-50, -50, 500, -50, 500, 500, -50, 500]])
  assert (got["segmentation"] == 255).all()
  with pytest.raises(ValueError, match="polygon_mask"):
    run("polygon_mask", segmentation={"counts": b"~~~~", "size": [50, 200]})


def test_masks_of_a_jsonl_line():
  """Equally long polygons come as one array, run lengths as dicts, below "objects"."""
  runs = {"size": [6, 8], "counts": [40, 8]}
  square = [[1, 1, 5, 1, 5, 4, 1, 4]]
  for masks in ([square, square], [square, [[1, 1, 5, 1, 5, 4]]], [runs, runs], [square, runs],
                np.array([square, square])):
    example = {"image": np.zeros((6, 8, 3), np.uint8), "objects": {"mask": masks}}
    found = get_preprocess_fn("flatten|polygon_mask('objects/mask')")(example)["objects/mask"]
    assert len(found) == 2 and {m.shape for m in found} == {(6, 8)}


@pytest.mark.parametrize("pp", ["polygon_mask('mask')", "box_format('box', 'xyxy_pixels')"])
def test_the_size_of_a_picture_on_its_side_is_that_of_the_decoded_one(pp):
  stored, exif = Image.new("RGB", (20, 10)), Image.Exif()
  exif[ORIENTATION] = 6
  stored.save(data := io.BytesIO(), "JPEG", exif=exif)
  example = {"image": data.getvalue(), "mask": [[0, 0, 5, 0, 5, 15]], "box": [0, 0, 5, 15]}
  with pytest.raises(ValueError, match=r"lies on its side \(EXIF orientation 6\): put decode"):
    get_preprocess_fn(pp)(example)
  upright = get_preprocess_fn(f"decode(exif=True)|{pp}")(example)
  assert upright["image"].shape[:2] == (20, 10)
  assert np.shape(upright["mask"])[-2:] == (20, 10) if "mask" in pp else upright["box"][2] == 0.75
