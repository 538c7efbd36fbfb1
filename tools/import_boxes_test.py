import base64
import io
import json
import pathlib
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from pycocotools import mask as coco_mask

from big_vlm.data import source
from pp import locations
from pp.builder import get_preprocess_fn
from tools import import_boxes, validate_jsonl

# One scene in every format: boxes (ymin, xmin, ymax, xmax) in pixels of images of 40 x 60.
SCENE = {"a.png": [("dog", (20, 30, 40, 60)), ("cat", (4, 6, 12, 30))], "b.png": [],
         "c.png": [("cat", (1, 2, 39, 33))]}
NAMES = ["cat", "dog"]
JUNK = st.sampled_from([None, True, -1, 0, 7, 1e300, float("nan"), "", "x", "<loc0001>", "../a.png",
                        [], [1], ["x"], [[1, 2]], {}, {"counts": "abc", "size": [40, 60]},
                        {"counts": [1, -1, 2400], "size": [40, 60]}, "a" * 5000])
GOLDEN = pathlib.Path(__file__).parent.parent / "tests" / "golden"


@pytest.fixture
def images(tmp_path):
  return make_images(tmp_path / "images")


def make_images(folder):
  folder.mkdir(parents=True)
  for i, name in enumerate(SCENE):
    Image.new("RGB", (60, 40), (40 * i, 90, 90)).save(folder / name)
  return folder


def run(capsys, *args):
  """The text that the command prints."""
  import_boxes.main(list(map(str, args)))
  return capsys.readouterr().out


def read(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def write_json(path, value):
  path.write_text(json.dumps(value))
  return path


def coco_file(folder, **changes):
  """The scene as COCO, a polygon and a run-length code in it."""
  annotations = []
  for i, objects in enumerate(SCENE.values()):
    for label, (y0, x0, y1, x1) in objects:
      annotations.append({"id": len(annotations), "image_id": i, "iscrowd": 0,
                          "category_id": 10 + NAMES.index(label),
                          "bbox": [x0, y0, x1 - x0, y1 - y0],
                          "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]})
  counts = [40 * 2 + 1, *[38, 2] * 30, 38, 40 * 27 + 1]  # the box of c.png, column by column
  annotations[-1]["segmentation"] = {"size": [40, 60], "counts": counts}
  return write_json(folder / "coco.json", {
      "images": [{"id": i, "file_name": name, "height": 40, "width": 60}
                 for i, name in enumerate(SCENE)],
      "annotations": annotations,
      "categories": [{"id": 10 + i, "name": name} for i, name in enumerate(NAMES)], **changes})


def coco(folder):
  return ["coco", coco_file(folder), make_images(folder / "images")]


def yolo(folder, line="{n} {cx} {cy} {w} {h}"):
  make_images(folder / "train" / "images")
  (folder / "train" / "labels").mkdir()
  (folder / "data.yaml").write_text("nc: 2\nnames:\n  0: cat\n  1: dog\n")
  for name, objects in SCENE.items():
    if objects:
      rows = [line.format(n=NAMES.index(label), cx=(x0 + x1) / 120, cy=(y0 + y1) / 80,
                          w=(x1 - x0) / 60, h=(y1 - y0) / 40, x0=x0 / 60, y0=y0 / 40, x1=x1 / 60,
                          y1=y1 / 40) for label, (y0, x0, y1, x1) in objects]
      (folder / "train" / "labels" / name.replace("png", "txt")).write_text("\n".join(rows) + "\n")
  return ["yolo", folder]


def yolo_polygons(folder):
  return yolo(folder, "{n} {x0} {y0} {x1} {y0} {x1} {y1} {x0} {y1}")


def voc_xml(name, objects, extra=""):
  objects = "".join(
      f"<object><name>{label}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
      f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
      for label, (y0, x0, y1, x1) in objects)
  return (f"{extra}<annotation><filename>{name}</filename><size><width>60</width>"
          f"<height>40</height><depth>3</depth></size>{objects}</annotation>")


def voc(folder):
  make_images(folder / "JPEGImages")
  (folder / "Annotations").mkdir()
  for name, objects in SCENE.items():
    (folder / "Annotations" / name.replace("png", "xml")).write_text(voc_xml(name, objects))
  return ["voc", folder]


def labelme(folder):
  make_images(folder / "images")
  for name, objects in SCENE.items():
    shapes = [{"label": label, "shape_type": "polygon", "group_id": None,
               "points": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]}
              for label, (y0, x0, y1, x1) in objects]
    shapes.append({"label": "nose", "shape_type": "point", "points": [[3, 4]]})
    write_json(folder / name.replace("png", "json"), {
        "imagePath": f"images\\{name}", "imageHeight": 40, "imageWidth": 60, "shapes": shapes})
  return ["polygons", folder]


def class_masks(folder):
  made = [folder / "images", folder / "masks"]
  make_images(made[0])
  made[1].mkdir()
  for name, objects in SCENE.items():
    values = np.zeros((40, 60), np.uint8)
    for label, (y0, x0, y1, x1) in objects:
      values[y0:y1, x0:x1] = 1 + NAMES.index(label)
    values[0] = 255  # void
    image = Image.fromarray(values).convert("P")
    image.save(made[1] / name)
  return ["masks", *made, "--class_names", "background,cat,dog"]


def object_masks(folder):
  made = [folder / "images", folder / "masks"]
  make_images(made[0])
  for name, objects in SCENE.items():
    for i, (label, (y0, x0, y1, x1)) in enumerate(objects):
      values = np.zeros((40, 60), np.uint8)
      values[y0:y1, x0:x1] = 255
      path = made[1] / name.removesuffix(".png") / f"{label}_{i}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(values).save(path)
  return ["masks", *made]


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


@pytest.mark.parametrize("change, complaint", [
    (dict(categories=[{"id": 10, "name": "a;b"}, {"id": 11, "name": "<loc0001>"}]),
     r"Classes have names that no answer can hold \(2\): 'a;b', '<loc0001>'"),
    (dict(categories=[{"id": 10, "name": "cat"}]), "the category_id 11"),
    (dict(annotations=[{"id": 7, "image_id": 9, "category_id": 10}]), "7 has the image_id 9"),
    (dict(annotations=[{"id": 7, "image_id": 0, "category_id": 10, "bbox": [1, 2, "x", 4]}]),
     "annotation 7: expected 4 numbers"),
    (dict(annotations=[]), "no lines: of 3 images none has objects"),
    (dict(images=[{"id": 1, "file_name": f"{n}.png", "height": 40, "width": 60} for n in "ab"]),
     "image 1 and .*image 0 have the same key image id 1"),
    (dict(images=[{"id": i, "file_name": "a.png", "height": 40, "width": 60} for i in (1, 2)]),
     "image 1 and .*image 0 have the same key .*a.png"),
    (dict(categories=[{"id": 10, "name": n} for n in NAMES]), "the same key category id 10"),
    (dict(categories=[{"id": 10, "name": " \x1b[2J"}]), "is not the name of a class"),
    (dict(images=[{"id": 0, "file_name": "../a.png", "height": 40, "width": 60}]),
     "image 0: .*'../a.png' .* is refused"),
    (dict(images=[{"id": 0, "file_name": "a.png", "height": 40, "width": 10**12}],
          annotations=[{"id": 7, "image_id": 0, "category_id": 10, "segmentation": {
              "size": [40, 10**12], "counts": [40 * 10**12]}}]), "more than 178,956,970 pixels"),
    *[(dict(annotations=[{"id": 7, "image_id": 0, "category_id": 10, "segmentation": {
        "size": [40, 60], "counts": counts}}]), "annotation 7: the mask is not a run-length code")
      for counts in ([10**12], [2400.0], [], "", "P", "oooooooo0", "\u00e9", "ocb")],
])
def test_bad_coco(tmp_path, capsys, images, change, complaint):
  with pytest.raises(ValueError, match=complaint):
    run(capsys, "coco", coco_file(tmp_path, **change), images, tmp_path / "o.jsonl")


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize("make", [coco, labelme])
def test_no_annotation_breaks_the_readers(tmp_path_factory, make, data):
  """A JSON with one value replaced or removed is read, or refused with a reason."""
  folder = tmp_path_factory.mktemp("fuzz")
  args = make(folder)
  path = folder / ("coco.json" if make is coco else "a.json")
  tree = json.loads(path.read_text())
  at, key = tree, data.draw(st.sampled_from(sorted(tree)))
  while at[key] and isinstance(at[key], (dict, list)) and data.draw(st.integers(0, 5)):
    at = at[key]
    key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
  if data.draw(st.booleans()):
    at[key] = data.draw(JUNK)
  else:
    del at[key]
  write_json(path, tree)
  try:
    import_boxes.main([*map(str, args), str(folder / "o.jsonl")])
  except (ValueError, OSError) as e:
    assert str(e)


@pytest.mark.parametrize("parent", [True, False])
def test_a_category_of_other_categories_is_no_class(tmp_path, capsys, images, parent):
  """Roboflow writes the name of the data set as a category, of which all others are."""
  some = [{"id": 10 + i, "name": name, "supercategory": "pets"} for i, name in enumerate(NAMES)]
  path = coco_file(tmp_path, categories=[{"id": 0, "name": "pets" if parent else "owl"}, *some])
  said = run(capsys, "coco", path, images, tmp_path / "o.jsonl", "--prompt", "all_classes")
  assert ("warning: classes have no objects (1): owl." in said) != parent
  asked = "cat ; dog" if parent else "owl ; cat ; dog"
  assert read(tmp_path / "o.jsonl")[0]["prefix"] == f"detect {asked}"


@pytest.mark.parametrize("names", [
    ["yes", "no"], ["1.10", "007"], ["null", "~"], ["12:30", "1e3"], ["caf\u00e9", "0x1F"]])
def test_names_of_classes_are_what_is_written(tmp_path, capsys, names):
  args, out = yolo(tmp_path), tmp_path / "o.jsonl"
  numbered = "".join(f"  {i}: {n}\n" for i, n in enumerate(names))
  listed = "".join(f"- {n}  \r\n" for n in names)
  wants = sorted(set(names))
  for text in (f"names: [{', '.join(names)}]", f"nc: 2\nnames:\n{numbered}", f"names:\n{listed}"):
    (tmp_path / "data.yaml").write_text(text)
    run(capsys, *args, out, "--prompt", "all_classes")
    assert sorted(set(sum((x["objects"]["label"] for x in read(out)), []))) == wants
  (tmp_path / "data.yaml").unlink()
  for code in ("utf-8", "utf-8-sig", "utf-16"):
    (tmp_path / "classes.txt").write_bytes("\r\n".join([*names, "", ""]).encode(code))
    run(capsys, *args, out)
    assert sorted(set(sum((x["objects"]["label"] for x in read(out)), []))) == wants


@pytest.mark.parametrize("name, code", [
    ("caf\u00e9", "latin-1"), ("\u8c93", "cp950"), ("\u72d7", "gb2312"), ("cat", "utf-16-le")])
def test_an_encoding_is_asked_for(tmp_path, capsys, name, code):
  args, out = yolo(tmp_path), tmp_path / "o.jsonl"
  (tmp_path / "data.yaml").unlink()
  (tmp_path / "classes.txt").write_bytes(f"{name}\ndog\n".encode(code))
  for label in (tmp_path / "train" / "labels").glob("*.txt"):
    label.write_bytes(label.read_text().encode(code))
  with pytest.raises(ValueError, match="classes.txt .*--encoding"):
    run(capsys, *args, out)
  run(capsys, *args, out, "--encoding", code)
  assert read(out)[1]["objects"]["label"] == [name]


@pytest.mark.parametrize("text, complaint", [
    ("names: [cat, dog]\nnames: [dog, cat]", "line 2: the key 'names' is there twice"),
    ("names: {0: cat, 0: dog}", "the key '0' is there twice"),
    ("names: {1: cat, 2: dog}", "not numbered from 0 to 1"),
    ("names: [cat, dog]\nnc: 3", "nc: 3 and 2 names"),
    ("names: [cat, '']", "line 1: '' is not the name of a class"),
    ("a: &a [x, x]\n" + "".join(f"{c}: &{c} [{', '.join([f'*{b}'] * 9)}]\n" for b, c in zip(
        "abcdefghi", "bcdefghij")) + "names: *j", "has no names of classes"),
    ("names: " + "[" * 50_000, "is not a YAML"),
    ("names: [" + "x, " * 40_000 + "]", "more than 100,000 bytes"),
])
def test_bad_names_of_yolo(tmp_path, capsys, text, complaint):
  args, began = yolo(tmp_path), time.process_time()
  (tmp_path / "data.yaml").write_text(text)
  with pytest.raises(ValueError, match=complaint) as e:
    run(capsys, *args, tmp_path / "o.jsonl")
  assert time.process_time() - began < 2 and len(str(e.value)) < 1000


def test_keypoints_of_yolo_are_no_polygon(tmp_path, capsys):
  args, out = yolo(tmp_path, "{n} {cx} {cy} {w} {h} {cx} {cy} 2 {x0} {y1} 1"), tmp_path / "o.jsonl"
  with pytest.raises(ValueError, match="could be boxes with keypoints .*--shape polygon"):
    run(capsys, *args, out)
  run(capsys, *args, out, "--shape", "pose")
  lines = read(out)
  (tmp_path / "data.yaml").write_text("names: [cat, dog]\nkpt_shape: [2, 3]\n")
  run(capsys, *args, out)
  assert read(out) == lines
  np.testing.assert_allclose(lines[0]["objects"]["bbox"][0], [.1, .1, .3, .5], atol=1e-5)
  (tmp_path / "data.yaml").write_text("names: [cat, dog]\nkpt_shape: [3, 3]\n")
  with pytest.raises(ValueError, match="line 1 has 10 numbers .* kpt_shape asks for 13"):
    run(capsys, *args, out)


def test_two_images_of_one_label_file(tmp_path, capsys):
  args = yolo(tmp_path)
  Image.new("RGB", (60, 40)).save(tmp_path / "train" / "images" / "a.jpg")
  with pytest.raises(ValueError, match="a.png and .*a.jpg have the same key .*a.txt"):
    run(capsys, *args, tmp_path / "o.jsonl")


@pytest.mark.parametrize("rows, complaint", [
    ("2 .5 .5 .1 .1", "line 1: the class '2' is none of 0 to 1"),
    ("0 .5 .5 .1 .1\n1 30 20 10 5", "line 2 has 30.0: .* look like pixels"),
    ("0 .5 .5 .1 .1 .9", "has 5 numbers after the class"),
    ("0 .5 x .1 .1", "expected numbers"),
])
def test_bad_yolo(tmp_path, capsys, rows, complaint):
  args = yolo(tmp_path)
  (tmp_path / "train" / "labels" / "a.txt").write_text(rows)
  with pytest.raises(ValueError, match=complaint):
    run(capsys, *args, tmp_path / "o.jsonl")


def test_labels_without_images_and_classes_txt(tmp_path, capsys):
  args = yolo(tmp_path)
  (tmp_path / "data.yaml").unlink()
  (tmp_path / "classes.txt").write_text("cat\ndog\n")
  run(capsys, *args, tmp_path / "o.jsonl")
  (tmp_path / "train" / "labels" / "d.txt").write_text("0 .5 .5 .1 .1")
  with pytest.raises(FileNotFoundError, match=r"Label files have no image \(1\): .*d.txt"):
    run(capsys, *args, tmp_path / "o.jsonl")


@pytest.mark.parametrize("declared", [
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE a SYSTEM "http://example.com/a.dtd">'])
def test_xml_with_entities_is_refused(tmp_path, capsys, declared):
  args = voc(tmp_path)
  (tmp_path / "Annotations" / "a.xml").write_text(voc_xml("a.png", [], declared))
  with pytest.raises(ValueError, match="declares a document type or an entity"):
    run(capsys, *args, tmp_path / "o.jsonl")


def test_sets_of_voc(tmp_path, capsys):
  args = voc(tmp_path)
  (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
  (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("c\n")
  run(capsys, *args, tmp_path / "o.jsonl", "--image_set", "val")
  assert [line["image"] for line in read(tmp_path / "o.jsonl")] == ["JPEGImages/c.png"]
  with pytest.raises(FileNotFoundError, match="sets: val"):
    run(capsys, *args, tmp_path / "o.jsonl", "--image_set", "train")


def test_groups_rectangles_and_circles_of_labelme(tmp_path, capsys, images):
  points = lambda *p: {"label": "cat", "points": [list(q) for q in p]}
  shapes = [{**points((0, 0), (6, 0), (6, 4)), "group_id": 1},
            {**points((30, 20), (36, 20), (36, 24)), "group_id": 1},
            {**points((30, 30), (12, 10)), "shape_type": "rectangle"},
            {**points((20, 20), (20, 30)), "shape_type": "circle"}]
  write_json(images / "a.json", {"imagePath": "a.png", "imageHeight": 40, "imageWidth": 60,
                                 "shapes": shapes})
  run(capsys, "polygons", images, tmp_path / "o.jsonl", "--order", "given")
  boxes = np.array(read(tmp_path / "o.jsonl")[0]["objects"]["bbox"]) * [40, 60, 40, 60]
  np.testing.assert_allclose(boxes, [[0, 0, 24, 36], [10, 12, 30, 30], [10, 10, 30, 30]], atol=1e-4)


def test_masks_and_numbers_as_labels_of_labelme(tmp_path, capsys, images):
  png = io.BytesIO()
  Image.new("1", (30, 20), 1).save(png, "PNG")
  mask = {"label": "dog", "points": [[10, 10], [39, 29]], "shape_type": "mask",
          "mask": base64.b64encode(png.getvalue()).decode()}
  shapes = [mask, {"label": 0, "points": [[1, 1], [30, 20]], "shape_type": "rectangle"}]
  (images / "json").mkdir()
  tree = {"imagePath": "../a.png", "imageHeight": 40, "imageWidth": 60, "shapes": shapes}
  path = write_json(images / "json" / "a.json", tree)
  run(capsys, "polygons", images, tmp_path / "o.jsonl", "--order", "given")
  objects = read(tmp_path / "o.jsonl")[0]["objects"]
  assert objects["label"] == ["dog", "0"]
  box = np.multiply(objects["bbox"][0], [40, 60] * 2)
  np.testing.assert_allclose(box, [10, 10, 30, 40], atol=1e-3)
  for change, complaint in (({"mask": "x"}, "not a PNG"), ({"points": [[50, 10], [79, 29]]}, "lie"),
                            ({"shape_type": "cube"}, "not known here"), ({"label": None}, "label")):
    write_json(path, {**tree, "shapes": [{**mask, **change}]})
    with pytest.raises(ValueError, match=f"a.json, shape 0.*{complaint}"):
      run(capsys, "polygons", images, tmp_path / "o.jsonl")
  for name in ("../../../etc/passwd", "/etc/passwd"):
    write_json(path, {**tree, "imagePath": name})
    with pytest.raises(ValueError, match="a.json, imagePath .*refused"):
      run(capsys, "polygons", images, tmp_path / "o.jsonl")


def test_voc_without_a_size_and_in_other_encodings(tmp_path, capsys):
  args, out = voc(tmp_path), tmp_path / "o.jsonl"
  run(capsys, *args, out)
  lines = read(out)
  path = tmp_path / "Annotations" / "a.xml"
  text = path.read_text()
  size = text[text.index("<size>"):text.index("</size>") + 7]
  path.write_text(text.replace(size, ""))
  run(capsys, *args, out)
  assert read(out) == lines
  for code in ("gb2312", "utf-16", "utf-8"):
    path.write_bytes((f"<?xml version='1.0' encoding='{code}'?>\n"
                      + text.replace("dog", "\u732b")).encode(code))
    run(capsys, *args, out)
    assert "\u732b" in read(out)[0]["objects"]["label"]
  path.write_text(text.replace("<height>40", "<height>0"))
  with pytest.raises(ValueError, match="a.xml, <size>: the image's height"):
    run(capsys, *args, out)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
def test_black_and_white_masks(tmp_path, capsys, mode):
  images, out = make_images(tmp_path / "images"), tmp_path / "o.jsonl"
  values = np.zeros((40, 60), np.uint8)
  values[10:20, 12:30] = 255
  (tmp_path / "masks").mkdir()
  Image.fromarray(values).convert(mode).save(tmp_path / "masks" / "a.png")
  args = ["masks", images, tmp_path / "masks", out]
  run(capsys, *args, "--class_names", "background,cat")
  assert read(out)[0]["objects"]["label"] == ["cat"]
  np.testing.assert_allclose(read(out)[0]["objects"]["bbox"], [[.25, .2, .5, .5]])
  with pytest.raises(ValueError, match="no values but 0 and 255: give two names"):
    run(capsys, *args, "--class_names", "background,cat,dog")


def test_masks_in_colours_and_of_noise(tmp_path, capsys):
  images, out = make_images(tmp_path / "images"), tmp_path / "o.jsonl"
  colours = np.zeros((40, 60, 3), np.uint8)
  colours[2:10, 3:9], colours[2:10, 9:20] = (255, 0, 0), (0, 255, 0)
  (tmp_path / "masks").mkdir()
  path = tmp_path / "masks" / "a.png"
  Image.fromarray(colours).save(path)
  args = ["masks", images, tmp_path / "masks", out]
  with pytest.raises(ValueError, match="a.png is in colours"):
    run(capsys, *args, "--class_names", "background,cat,dog")
  run(capsys, *args, "--class_names", "cell", "--instances")
  assert len(read(out)[0]["objects"]["bbox"]) == 2
  Image.fromarray(np.tile(np.uint8([[1, 0], [0, 0]]), (500, 500))).save(path)
  began = time.process_time()
  with pytest.raises(ValueError, match="a.png has 250,000 regions, more than 1000"):
    run(capsys, *args, "--class_names", "background,cat")
  assert time.process_time() - began < 2
  Image.new("RGB", (60, 40)).save(path, "BMP")  # by the name alone
  with pytest.raises(ValueError, match="Cannot read the mask .*a.png as PNG"):
    run(capsys, *args, "--class_names", "background,cat")


def test_instances_of_a_mask_image(tmp_path, capsys):
  images = make_images(tmp_path / "images")
  values = np.zeros((40, 60), np.int32)
  values[2:10, 3:9], values[10:20, 9:30] = 1, 700  # touching, and beyond 8 bits
  (tmp_path / "masks").mkdir()
  Image.fromarray(values.astype(np.uint16)).save(tmp_path / "masks" / "a.png")
  args = ["masks", images, tmp_path / "masks", tmp_path / "o.jsonl", "--instances"]
  with pytest.raises(ValueError, match="the value 1, for which there is no name"):
    run(capsys, *args)
  run(capsys, *args, "--class_names", "cell")
  line, = read(tmp_path / "o.jsonl")
  assert line["prefix"] == "detect cell" and len(line["objects"]["bbox"]) == 2


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
