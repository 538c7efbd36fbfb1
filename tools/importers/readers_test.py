"""What each reader of annotations takes, and what it refuses by name."""
import base64
import io
import json
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.scenes import (
  NAMES,
  coco,
  coco_file,
  labelme,
  make_images,
  read,
  run,
  voc,
  voc_xml,
  write_json,
  yolo,
)
from tools import import_boxes

JUNK = st.sampled_from([None, True, -1, 0, 7, 1e300, float("nan"), "", "x", "<loc0001>", "../a.png",
                        [], [1], ["x"], [[1, 2]], {}, {"counts": "abc", "size": [40, 60]},
                        {"counts": [1, -1, 2400], "size": [40, 60]}, "a" * 5000])


@pytest.fixture
def images(tmp_path):
  return make_images(tmp_path / "images")


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


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_a_rectangle_that_cvat_turned(tmp_path, capsys, images, kind):
  """Its corners are those before the turn; the angle is an attribute, 0 of the others."""
  before = (15, 10, 25, 50)  # 40 wide and 10 high
  if kind == "coco":
    args = "coco", coco_file(tmp_path, annotations=[
        {"id": i, "image_id": i, "category_id": 10, "bbox": [10, 15, 40, 10], "segmentation": [],
         "attributes": {"occluded": False, "rotation": angle}}
        for i, angle in enumerate([30.0, 90.0, 0.0])]), images
  else:
    for name, angle in zip("abc", ("30.0", "90.0", "0.0")):
      (images / f"{name}.xml").write_text(voc_xml(f"{name}.png", [("cat", before)]).replace(
          "</object>", "<attributes><attribute><name>rotation</name><value>" + angle
          + "</value></attribute></attributes></object>"))
    args = "voc", images
  run(capsys, *args, tmp_path / "o.jsonl")
  a, b, c = [line["objects"] for line in read(tmp_path / "o.jsonl")]
  sides = np.array([40, 60, 40, 60])
  np.testing.assert_allclose(b["bbox"] * sides, [[0, 25, 40, 35]], atol=1e-4)
  np.testing.assert_allclose(c["bbox"] * sides, [before], atol=1e-4)
  [[[x0, y0, x1, y1, *_]]] = a["mask"]  # the upper edge falls to the right
  np.testing.assert_allclose([x1 - x0, y1 - y0], [40 * 3**0.5 / 2, 20], atol=0.02)


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
