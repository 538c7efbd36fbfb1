"""YOLO: a text file for each image, "class cx cy width height" a line, in 0..1 of the image.

Of YOLO-seg a line is "class x y x y x y ...", a polygon. The names of the classes are in data.yaml
(names: a list or a dict) or classes.txt, one a line. The labels of images/train/a.jpg are in
labels/train/a.txt, those of train/images/a.jpg in train/labels/a.txt; without such folders they lie
beside the image. An image without labels has no objects.
"""
import pathlib

import yaml

from tools.importers import records

LISTS = ("classes.txt", "obj.names", "_darknet.labels")


def read(folder):
  """(pictures, classes) of a folder of images and labels; raises ValueError, FileNotFoundError."""
  folder = pathlib.Path(folder)
  images = records.images_below(folder)
  classes = class_names(folder)
  pictures, used = [], set()
  for path in images:
    labels = _labels_of(path, folder)
    used.add(labels)
    annotations = []
    if labels.is_file():
      text = labels.read_bytes().decode("utf-8-sig", "replace")
      for n, line in enumerate(text.splitlines(), 1):
        if line.strip():
          annotations.append(_annotation(line.split(), classes, f"{labels}, line {n}"))
    pictures.append(records.AnnotatedImage(path, None, annotations, str(labels)))
  alone = [p for p in sorted(folder.rglob("labels/**/*.txt"))
           if p not in used and p.name not in LISTS]
  if alone:
    raise FileNotFoundError(records.listed(alone, "Label files have no image"))
  if not any(p.annotations for p in pictures):
    raise ValueError(f"{folder} has {len(pictures)} images and no labels for them: the labels of "
                     "images/a.jpg are expected in labels/a.txt.")
  return pictures, list(classes)


def class_names(folder):
  """The names of the classes by number; raises FileNotFoundError, ValueError."""
  for name in ("data.yaml", "data.yml", "dataset.yaml"):
    if (path := folder / name).is_file():
      try:
        names = (yaml.safe_load(path.read_bytes()) or {}).get("names")
      except (yaml.YAMLError, AttributeError, ValueError) as e:
        raise ValueError(f"{path} is not a YAML of a data set: {e}") from e
      if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[i] for i in range(len(names))]
      if not isinstance(names, list) or not names:
        raise ValueError(f"{path} has no names of classes: expected names: [cat, dog].")
      return list(map(str, names))
  for name in LISTS:
    if (path := folder / name).is_file():
      text = path.read_bytes().decode("utf-8-sig", "replace")
      return [line.strip() for line in text.splitlines() if line.strip()]
  raise FileNotFoundError(f"{folder} has neither data.yaml nor classes.txt, which name the "
                          "classes.")


def _labels_of(image, folder):
  parts = list(image.relative_to(folder).parts)
  for i in reversed(range(len(parts) - 1)):
    if parts[i] == "images":
      parts[i] = "labels"
      break
  return (folder / pathlib.Path(*parts)).with_suffix(".txt")


def _annotation(words, classes, where):
  values = records.numbers(words[1:], where)
  if not words[0].isdecimal() or int(words[0]) >= len(classes):
    raise ValueError(f"{where}: the class {words[0]!r} is none of 0 to {len(classes) - 1}.")
  if max(map(abs, values), default=0) > 2:
    raise ValueError(f"{where} has {max(values, key=abs)}: YOLO's numbers are fractions of the "
                     "image's width and height, these look like pixels.")
  label = classes[int(words[0])]
  if len(values) == 4:
    cx, cy, w, h = values
    return records.Annotation(label, (cy - h / 2, cx - w / 2, cy + h / 2, cx + w / 2))
  if len(values) >= 6 and len(values) % 2 == 0:
    return records.Annotation(label, records.box_of([values]), [values])
  raise ValueError(f"{where} has {len(values)} numbers after the class: 4 are a box (a fifth, the "
                   "confidence of a prediction, is not taken), 6 or more in pairs a polygon.")
