import pathlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pycocotools import mask as coco_mask

from big_vlm.data import source
from pp import locations
from pp.builder import get_preprocess_fn
from tests.scenes import (
  SCENE,
  class_masks,
  coco,
  coco_file,
  labelme,
  make_images,
  object_masks,
  read,
  run,
  voc,
  yolo,
  yolo_polygons,
)
from tools import import_boxes, validate_jsonl

GOLDEN = pathlib.Path(__file__).parent.parent / "tests" / "golden"


@pytest.fixture
def images(tmp_path):
  return make_images(tmp_path / "images")


@pytest.mark.parametrize("make, masks", [
    (coco, True), (yolo, False), (yolo_polygons, True), (voc, False), (labelme, True),
    (class_masks, True), (object_masks, True)])
def test_every_format_gives_the_same_lines(tmp_path, capsys, make, masks):
  """The boxes of the text are within half a bin of the source; the ops write the same text."""
  args = make(tmp_path)
  out = tmp_path / "out.jsonl"
  kind, places, options = args[0], args[1:3], args[3:]
  said = run(capsys, kind, *places, out, *options)
  assert "cat          2       2" in said and f"{out}: 2 lines" in said
  assert "images without objects, for which there is nothing to ask, left out: 1" in said

  lines = read(out)
  assert [line["prefix"] for line in lines] == ["detect cat ; dog", "detect cat"]
  for line in lines:
    want = sorted(SCENE[line["image"].rpartition("/")[2]], key=lambda t: t[1])
    for found in (locations.parse_objects(line["suffix"]), [
        locations.Object(b, n, None) for b, n in zip(*map(line["objects"].get,
                                                          ("bbox", "label")))]):
      assert [o.label for o in found] == [label for label, _ in want]
      boxes = np.array([o.box for o in found]) * [40, 60, 40, 60]
      half = 0.5 / 1023 * np.array([40, 60, 40, 60]) + 1e-4
      assert (np.abs(boxes - [box for _, box in want]) <= half).all()
    assert ("mask" in line["objects"]) == masks

  examples = source.get("jsonl", path=str(out))
  pp = "copy('suffix', 'was')|flatten|decode|detect(order='given')"
  for i in range(len(examples)):
    made = get_preprocess_fn(pp)(examples[i])
    assert (made["prefix"], made["suffix"]) == (lines[i]["prefix"], made["was"])
  assert not validate_jsonl.validate(str(out)).problems  # masks of the image's size, too


def test_masks_are_those_of_the_op(tmp_path, capsys):
  """What is written is what pp's polygon_mask reads: pixels, as COCO's."""
  out = tmp_path / "out.jsonl"
  run(capsys, *coco(tmp_path), out)
  example = source.get("jsonl", path=str(out))[0]
  example = get_preprocess_fn("flatten|getidx('objects/mask', 'i', outkey='one')|"
                              "polygon_mask('one')")({**example, "i": 0})
  y0, x0, y1, x1 = SCENE["a.png"][1][1]
  assert example["one"].shape == (40, 60) and example["one"][y0:y1, x0:x1].min() == 255
  assert (example["one"] > 0).sum() <= (y1 - y0 + 1) * (x1 - x0 + 1)


@pytest.mark.parametrize("prompt, texts", [
    ("per_image", ["detect cat ; dog", "detect cat"]),
    ("all_classes", ["detect cat ; dog"] * 3),
    ("per_class", ["detect cat", "detect dog", "detect cat"])])
def test_prompts(tmp_path, capsys, prompt, texts):
  out = tmp_path / "out.jsonl"
  run(capsys, *coco(tmp_path), out, "--prompt", prompt)
  lines = read(out)
  assert [line["prefix"] for line in lines] == texts
  for line in lines:
    assert [o.label for o in locations.parse_objects(line["suffix"])] == line["objects"]["label"]


def test_order_classes_area_and_split(tmp_path, capsys):
  args, out = coco(tmp_path), tmp_path / "out.jsonl"
  run(capsys, *args, out, "--order", "given")
  assert read(out)[0]["prefix"] == "detect dog ; cat"
  run(capsys, *args, out, "--classes", "dog", "--min_area", "500")
  assert [line["prefix"] for line in read(out)] == ["detect dog"]
  assert "boxes of less than 200 pixels left out: 1" in run(capsys, *args, out, "--min_area", "200")
  run(capsys, *args, out, "--prompt", "all_classes", "--split", "train=0.5,val=0.5")
  parts = {name: [line["image"] for line in read(tmp_path / f"out_{name}.jsonl")]
           for name in ("train", "val")}
  assert sorted(sum(parts.values(), [])) == [f"images/{name}" for name in SCENE]
  for name, images in parts.items():  # an image's part does not depend on the others
    assert all(import_boxes.which(i[7:], [("train", .5), ("val", .5)]) == name for i in images)


def test_boxes_are_clipped_and_empty_ones_dropped(tmp_path, capsys, images):
  path = coco_file(tmp_path, annotations=[
      {"id": i, "image_id": 0, "category_id": 10, "bbox": box, "iscrowd": i == 4}
      for i, box in enumerate([[-6, 4, 30, 8], [60, 4, 10, 8], [3, 3, 0, 9], [30, 20, 30, 20.05],
                               [0, 0, 60, 40]])])
  said = run(capsys, "coco", path, images, tmp_path / "o.jsonl", "--skip_crowd")
  for note in ("boxes clipped to the image: 1", "outside of the image: 2", "crowds left out: 1"):
    assert note in said
  line, = read(tmp_path / "o.jsonl")
  assert line["objects"]["bbox"] == [[0.1, 0, 0.3, 0.4], [0.5, 0.5, 1, 1]]


def test_an_object_that_is_there_twice_is_written_once(tmp_path, capsys, images):
  boxes = [[0, 0, 30, 8], [0, 0, 30, 8], [0, 0, 30, 9]]
  path = coco_file(tmp_path, annotations=[
      {"id": i, "image_id": 0, "category_id": 10, "bbox": box} for i, box in enumerate(boxes)])
  assert "left out that are there twice, with the same class and box: 1" in run(
      capsys, "coco", path, images, tmp_path / "o.jsonl")
  line, = read(tmp_path / "o.jsonl")
  assert line["objects"]["bbox"] == [[0, 0, 0.2, 0.5], [0, 0, 0.225, 0.5]]


def test_fractions_where_pixels_belong_are_refused(tmp_path, capsys, images):
  path = coco_file(tmp_path, annotations=[
      {"id": 0, "image_id": 0, "category_id": 10, "bbox": [0.1, 0.1, 0.4, 0.4]}])
  with pytest.raises(ValueError, match="No box in .*coco.json .* are fractions of the sides"):
    run(capsys, "coco", path, images, tmp_path / "o.jsonl")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("drawn", ["upright", "stored"])
def test_boxes_and_masks_lie_on_the_upright_picture(tmp_path, capsys, images, orientation, drawn):
  """Whatever frame a tool drew in, the lines fit what decode(exif=True) gives."""
  pixels = np.zeros((40, 60, 3), np.uint8)
  pixels[5:12, 8:30] = 255
  exif = Image.Exif()
  exif[0x112] = orientation
  Image.fromarray(pixels).save(images / "a.png", exif=exif)
  encoded = (images / "a.png").read_bytes()
  shown = get_preprocess_fn("decode(exif=True)")({"image": encoded})["image"]
  seen = (shown if drawn == "upright" else pixels)[..., 0] > 0
  (y0, x0), (y1, x1) = np.argwhere(seen).min(0).tolist(), (np.argwhere(seen).max(0) + 1).tolist()
  code = coco_mask.encode(np.asfortranarray(seen.astype(np.uint8)))
  ring = [x0, y0, x1, y0, x1, y1, x0, y1]
  path = coco_file(
      tmp_path, images=[{"id": 0, "file_name": "a.png", "height": seen.shape[0],
                         "width": seen.shape[1]}],
      annotations=[{"id": i, "image_id": 0, "category_id": 10, "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "segmentation": mask} for i, mask in enumerate([
                        [ring], {"size": list(seen.shape), "counts": code["counts"].decode()}])])
  args = ["coco", path, images, tmp_path / "o.jsonl"]
  if orientation in (2, 3, 4):  # the size tells nothing
    with pytest.raises(ValueError, match=r"nothing says in which frame .*--frame stored"):
      run(capsys, *args)
    args += ["--frame", drawn]
  run(capsys, *args)
  want = np.argwhere(shown[..., 0] > 0)
  height, width = shown.shape[:2]
  objects = read(tmp_path / "o.jsonl")[0]["objects"]
  for box in objects["bbox"]:
    np.testing.assert_allclose(np.multiply(box, [height, width, height, width]),
                               [*want.min(0), *want.max(0) + 1], atol=1e-3)
  polygon, code = objects["mask"]
  np.testing.assert_allclose(np.reshape(polygon, (-1, 2)).max(0), want.max(0)[::-1] + 1, atol=.01)
  np.testing.assert_array_equal(coco_mask.decode(code) > 0, shown[..., 0] > 0)
  assert not validate_jsonl.validate(str(tmp_path / "o.jsonl")).failed


def test_images_of_another_size_and_missing_ones_are_errors(tmp_path, capsys, images):
  path, text = coco_file(tmp_path), PngImagePlugin.PngInfo()
  text.add_text("workflow", "x" * 2**22, zip=True)
  Image.new("RGB", (60, 40)).save(images / "a.png", pnginfo=text)
  run(capsys, "coco", path, images, tmp_path / "o.jsonl")
  Image.new("RGB", (41, 60)).save(images / "a.png")
  with pytest.raises(ValueError, match=r"a.png is 41x60 and not 60x40"):
    run(capsys, "coco", path, images, tmp_path / "o.jsonl")
  (images / "b.png").unlink()
  (images / "c.png").unlink()
  with pytest.raises(FileNotFoundError, match=r"Images are missing \(2\): .*b.png, .*c.png\."):
    run(capsys, "coco", path, images, tmp_path / "o.jsonl")


def test_masks_become_codes(tmp_path, capsys):
  """--masks writes the codes that the encoder gives, and validate_jsonl finds them sound."""
  out, args, vqvae = tmp_path / "out.jsonl", coco(tmp_path), tmp_path / "vae.npz"
  with np.load(GOLDEN / "vqvae.npz") as golden:
    np.savez(vqvae, **{k.removeprefix("params/"): v for k, v in golden.items() if "/" in k})
  run(capsys, *args, out, "--masks", "--vqvae", vqvae)
  line = read(out)[0]
  found = locations.parse_objects(line["suffix"])
  assert line["prefix"] == "segment cat ; dog" and [len(o.seg) for o in found] == [16, 16]
  assert not validate_jsonl.validate(str(out)).problems
  op = get_preprocess_fn(f"copy('suffix', 'was')|flatten|segment(masks='m', model={str(vqvae)!r})")
  masks = np.zeros((2, 40, 60), np.uint8)
  for mask, (y0, x0, y1, x1) in zip(masks, (SCENE["a.png"][1][1], SCENE["a.png"][0][1])):
    mask[y0:y1, x0:x1] = 255
  made = op({**source.get("jsonl", path=str(out))[0], "m": masks})
  assert made["suffix"] == made["was"]
  with pytest.raises(ValueError, match="has no mask, which --masks needs"):
    run(capsys, *voc(tmp_path / "voc"), out, "--masks", "--vqvae", vqvae, "--root", tmp_path)


def test_images_elsewhere_need_a_root(tmp_path, capsys):
  args = coco(tmp_path)
  with pytest.raises(ValueError, match="is not below .*give that folder as --root"):
    run(capsys, *args, tmp_path / "lists" / "o.jsonl")
  run(capsys, *args, tmp_path / "lists" / "o.jsonl", "--root", tmp_path)
  assert read(tmp_path / "lists" / "o.jsonl")[0]["image"] == "images/a.png"


@pytest.mark.parametrize("text", ["train", "train=0.9,val=0.2", "train=1.5,val=-0.5", "a=x"])
def test_bad_split(text):
  with pytest.raises(ValueError, match="is not of the form train=0.9,val=0.1"):
    import_boxes.parse_split(text)
