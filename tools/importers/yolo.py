"""YOLO: a text file for each image, "class cx cy width height" a line, in 0..1 of the image.

Of YOLO-seg a line is "class x y x y x y ...", a polygon. The names of the classes are in data.yaml
(names: a list or a dict) or classes.txt, one a line. The labels of images/train/a.jpg are in
labels/train/a.txt, those of train/images/a.jpg in train/labels/a.txt; without such folders they lie
beside the image. An image without labels has no objects. Of YOLO-pose, for which data.yaml has a
kpt_shape, the box is taken. Ultralytics shows pictures upright, as their EXIF says.
"""
import itertools
import pathlib
import re

import yaml

from tools.importers import records

LISTS = ("classes.txt", "obj.names", "_darknet.labels")
MOST_YAML = 100_000  # bytes, which PyYAML reads in a second


def read(folder, encoding=None, shape="auto"):
  """(pictures, classes) of a folder of images and labels; raises ValueError, FileNotFoundError.

  shape: "pose" or "polygon", where lines of six numbers and more could be both.
  """
  folder = pathlib.Path(folder)
  images = records.images_below(folder)
  classes, keypoints = class_names(folder, encoding)
  pictures, used, rows = [], {}, []
  for path in images:
    labels = _labels_of(path, folder)
    records.once(labels, used, path)
    annotations = []
    if labels.is_file():
      for n, line in enumerate(records.read_text(labels, encoding).split("\n"), 1):
        if words := line.split():
          where = f"{labels}, line {n}"
          rows.append((where, len(words) - 1, records.numbers(words[1:], where)))
          annotations.append(_annotation(words[0], rows[-1][2], classes, keypoints, shape, where))
    pictures.append(records.AnnotatedImage(path, None, annotations, str(labels), "upright"))
  if shape == "auto" and not keypoints:
    _check_pose(rows)
  alone = [p for p in sorted(folder.rglob("labels/**/*.txt"))
           if p not in used and p.name not in LISTS]
  if alone:
    raise FileNotFoundError(records.listed(alone, "Label files have no image"))
  if not any(p.annotations for p in pictures):
    raise ValueError(f"{folder} has {len(pictures)} images and no labels for them: the labels of "
                     "images/a.jpg are expected in labels/a.txt.")
  return pictures, list(dict.fromkeys(classes))


def class_names(folder, encoding=None):
  """([name of each class], numbers of keypoints or 0); raises FileNotFoundError, ValueError."""
  for name in ("data.yaml", "data.yml", "dataset.yaml"):
    if (path := folder / name).is_file():
      return _from_yaml(path, encoding)
  for name in LISTS:
    if (path := folder / name).is_file():
      lines = records.read_text(path, encoding).rstrip().split("\n")
      return [records.label_of(line, f"{path}, line {n}") for n, line in enumerate(lines, 1)], 0
  raise FileNotFoundError(f"{folder} has neither data.yaml nor classes.txt, which name the "
                          "classes.")


def _from_yaml(path, encoding):
  """class_names of a YAML, in the characters that it has: YAML's types would make True of yes,
  1.1 of 1.10 and None of null. Aliases are not followed, so that nothing grows."""
  text = records.read_text(path, encoding, MOST_YAML)
  depth = itertools.accumulate((c in "[{") - (c in "]}") for c in text)
  try:
    if max(depth, default=0) > 50:  # PyYAML takes seconds for hundreds
      raise ValueError("more than 50 brackets are open at once")
    root = yaml.compose(text, yaml.BaseLoader)
  except (yaml.YAMLError, RecursionError, ValueError) as e:
    raise ValueError(f"{path} is not a YAML of a data set: {str(e)[:300]}") from e
  found = _pairs(root, path)
  names = found.get("names")
  if isinstance(names, yaml.MappingNode):
    numbered = _pairs(names, path)
    if set(numbered) != set(map(str, range(len(numbered)))):
      raise ValueError(f"{path}: the names of classes are not numbered from 0 to "
                       f"{len(numbered) - 1}.")
    names = [numbered[str(i)] for i in range(len(numbered))]
  else:
    names = names.value if isinstance(names, yaml.SequenceNode) else []
  if not names or not all(isinstance(n, yaml.ScalarNode) for n in names):
    raise ValueError(f"{path} has no names of classes: expected names: [cat, dog].")
  count, kpt = found.get("nc"), found.get("kpt_shape")
  if count is not None and count.value != str(len(names)):
    raise ValueError(f"{path} has nc: {str(count.value)[:20]} and {len(names)} names of classes.")
  keypoints = 0
  if kpt is not None:
    shape = [getattr(v, "value", "") for v in kpt.value] if isinstance(
        kpt, yaml.SequenceNode) else []
    if len(shape) != 2 or not all(isinstance(v, str) and v.isdecimal() for v in shape):
      raise ValueError(f"{path}: kpt_shape is not of the form [17, 3].")
    keypoints = int(shape[0]) * int(shape[1])
  return [records.label_of(n.value, f"{path}, line {n.start_mark.line + 1}")
          for n in names], keypoints


def _pairs(node, path):
  """{key: node} of a mapping; ValueError for another kind, and for a key that is there twice."""
  if not isinstance(node, yaml.MappingNode):
    raise ValueError(f"{path} is not a YAML of a data set: it has no keys.")
  found = {}
  for key, value in node.value:
    if not isinstance(key, yaml.ScalarNode) or key.value in found:
      raise ValueError(f"{path}, line {key.start_mark.line + 1}: the key {str(key.value)[:80]!r} "
                       "is there twice, or is not a word.")
    found[key.value] = value
  return found


def _check_pose(rows):
  """Raises ValueError for lines that could be the boxes and keypoints of YOLO-pose.

  They have equally many numbers, and in each the points lie in the box of the first four, or every
  third number is a visibility.
  """
  counts = {count for _, count, _ in rows}
  if len(counts) != 1 or (count := counts.pop()) < 6:
    return
  def pose(v):
    seen = count % 3 == 1 and set(v[6::3]) <= {0, 1, 2}
    cx, cy, w, h = v[:4]
    return w > 0 < h and (seen or all(
        (x, y) == (0, 0) or abs(x - cx) <= w / 2 + 1e-3 and abs(y - cy) <= h / 2 + 1e-3
        for x, y in zip(v[4::2], v[5::2])))
  if all(pose(v) for _, _, v in rows):
    raise ValueError(f"{rows[0][0]} and all other lines could be boxes with keypoints (YOLO-pose) "
                     "or polygons: give --shape pose or --shape polygon.")


def _labels_of(image, folder):
  parts = list(image.relative_to(folder).parts)
  for i in reversed(range(len(parts) - 1)):
    if parts[i] == "images":
      parts[i] = "labels"
      break
  return (folder / pathlib.Path(*parts)).with_suffix(".txt")


def _annotation(number, values, classes, keypoints, shape, where):
  if not re.fullmatch("[0-9]{1,9}", number) or int(number) >= len(classes):
    raise ValueError(f"{where}: the class {number[:40]!r} is none of 0 to {len(classes) - 1}.")
  label, pose = classes[int(number)], keypoints or shape == "pose"
  if pose and len(values) > 4:
    if keypoints and len(values) != 4 + keypoints:
      raise ValueError(f"{where} has {len(values)} numbers after the class: kpt_shape asks for "
                       f"{4 + keypoints}.")
    values = values[:4]
  if max(map(abs, values), default=0) > 2:
    raise ValueError(f"{where} has {max(values, key=abs)}: YOLO's numbers are fractions of the "
                     "image's width and height, these look like pixels.")
  if len(values) == 4:
    cx, cy, w, h = values
    if min(w, h) < 0:
      raise ValueError(f"{where}: the box has the width {w} and the height {h}.")
    return records.Annotation(label, (cy - h / 2, cx - w / 2, cy + h / 2, cx + w / 2))
  if len(values) >= 6 and len(values) % 2 == 0:
    return records.Annotation(label, records.box_of([values]), [values])
  raise ValueError(f"{where} has {len(values)} numbers after the class: 4 are a box (a fifth, the "
                   "confidence of a prediction or an angle, is not taken), 6 or more in pairs a "
                   "polygon; keypoints need kpt_shape in data.yaml.")
