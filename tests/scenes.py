"""One scene of three annotated images in every format that tools.import_boxes reads."""
import json

import numpy as np
from PIL import Image

from tools import import_boxes

# One scene in every format: boxes (ymin, xmin, ymax, xmax) in pixels of images of 40 x 60.
SCENE = {"a.png": [("dog", (20, 30, 40, 60)), ("cat", (4, 6, 12, 30))], "b.png": [],
         "c.png": [("cat", (1, 2, 39, 33))]}
NAMES = ["cat", "dog"]


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
