"""COCO's mean average precision for boxes, from the text a PaliGemma model writes.

Boxes of predictions are (ymin, xmin, ymax, xmax) in 0..1 of the image; boxes of annotations
are COCO's [x, y, width, height] in pixels. Scoring is pycocotools' with its own settings:
IoU .50:.05:.95, areas all/small/medium/large, at most 100 detections per image and class.
"""
import contextlib
import io
import math

from pycocotools import coco, cocoeval

from evaluators.metrics import ids
from evaluators.metrics.grounding import four
from pp import locations

# The order of COCOeval.stats. COCO's own names, shortened as detection papers do.
STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def coco_map(predictions, images, annotations, categories, denominator=locations.BINS - 1):
  """COCO box AP and AR of a set of images.

  Args:
    predictions: list of dicts, at most one for each image; an image without one has no
      detections. {"image_id", "text": the generated text, "<locXXXX>"*4 + label, objects
      joined by " ; ", or "objects": [{"box", "label"}], "scores": one finite number for each
      object in order, default 1.0}. With equal scores the first written counts first.
    images: list of {"id", "height", "width"}, pixels of the annotations' frame. All of them
      are evaluated.
    annotations: list of {"image_id", "category_id", "bbox"}; "area" (default: of the bbox)
      and "iscrowd" (default 0) as in COCO.
    categories: list of {"id", "name"}. A label is compared with the names as it is, without
      the spaces around it; ids need not be contiguous.
    denominator: what the number of a <locXXXX> in a text is divided by. 1023 as in big_vision;
      public demos take 1024, which shifts boxes by up to a thousandth of the image.

  Returns:
    {name: float} for each name in STATS: 0..1, or COCO's -1 where the set has no annotation
    of that size; "unknown_labels": int, how many objects were dropped because their label is
    no category; "detections": int, how many were scored.

  Raises:
    ValueError: for image or category ids that do not fit together or repeat, a number of
      scores other than that of the objects, a score, box or bbox that is not finite, and for
      a set without images or annotations.
  """
  evaluation, found, unknown = evaluate(predictions, images, annotations, categories, denominator)
  with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress and table
    evaluation.accumulate()
    evaluation.summarize()
  stats = {name: float(value) for name, value in zip(STATS, evaluation.stats, strict=True)}
  return {**stats, "unknown_labels": unknown, "detections": found}


def evaluate(predictions, images, annotations, categories, denominator=locations.BINS - 1):
  """(pycocotools COCOeval after evaluate(), number of detections, number of those without a known
  label); arguments and errors as of coco_map()."""
  sizes = ids.unique(images, "images")
  for i, image in sizes.items():
    if not (0 < image["height"] < math.inf and 0 < image["width"] < math.inf):
      raise ValueError(f"Image {i!r} has {image['height']} x {image['width']} pixels.")
  names = ids.unique(categories, "categories")
  if not annotations:
    raise ValueError("No annotations: average precision of an unlabelled set is undefined.")
  # pycocotools takes an annotation with id 0 for "unmatched" and sorts ids of one type only,
  # so images, annotations and detections are numbered here from 1.
  number = {image_id: i for i, image_id in enumerate(sizes, 1)}
  truth = [_annotation(i, a, number, names) for i, a in enumerate(annotations, 1)]
  found, unknown = _detections(predictions, sizes, number, names, denominator)
  with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress and table
    evaluation = cocoeval.COCOeval(
        _dataset(truth, number, names), _dataset(found, number, names), "bbox")
    evaluation.evaluate()
  return evaluation, len(found), unknown


def _annotation(i, annotation, number, names):
  for key, known in (("image_id", number), ("category_id", names)):
    if annotation[key] not in known:
      raise ValueError(f"Annotation {i - 1} has {key} {annotation[key]!r}, which is not among "
                       f"the {len(known)} known ids, e.g. {list(known)[:3]}.")
  box = list(four(annotation["bbox"], f"The bbox of annotation {i - 1}", "x, y, width, height"))
  area = annotation.get("area", box[2] * box[3])
  if min(box[2:]) < 0 or not math.isfinite(area):
    raise ValueError(f"The bbox {box} of annotation {i - 1} has a negative width or height, or its "
                     f"area, {area}, is no number.")
  return {"id": i, "image_id": number[annotation["image_id"]],
          "category_id": annotation["category_id"], "bbox": box,
          "area": area,
          "iscrowd": annotation.get("iscrowd", 0)}


def _detections(predictions, sizes, number, names, denominator):
  """-> (list of COCO detections, number of objects whose label is not a category)."""
  category = {row["name"]: i for i, row in names.items()}
  if len(category) < len(names):
    raise ValueError("Two categories have the same name, so a label does not tell which is "
                     "meant: rename or merge them.")
  found, unknown = [], 0
  for image_id, prediction in ids.by_image(predictions, sizes).items():
    objects = _objects(prediction, (locations.BINS - 1) / denominator)
    for (box, label), score in zip(objects, _scores(prediction, len(objects)), strict=True):
      if label not in category:
        unknown += 1
        continue
      ymin, xmin, ymax, xmax = four(box, f"Image {image_id!r}: the box of {label!r}")
      height, width = sizes[image_id]["height"], sizes[image_id]["width"]
      # An inverted box has no area: it matches nothing and counts as a false positive.
      size = max(xmax - xmin, 0) * width, max(ymax - ymin, 0) * height
      found.append({"id": len(found) + 1, "image_id": number[image_id],
                    "category_id": category[label], "score": score, "iscrowd": 0,
                    "bbox": [xmin * width, ymin * height, *size], "area": size[0] * size[1]})
  return found, unknown


def _objects(prediction, scale):
  """[(box, label)] of one prediction, from its text with boxes x scale, or as given."""
  if ("text" in prediction) == ("objects" in prediction):
    raise ValueError(f"Prediction for image {prediction['image_id']!r} needs 'text' or "
                     f"'objects', one of them; it has {sorted(prediction)}.")
  if "text" in prediction:
    return [([edge * scale for edge in o.box], o.label.strip())
            for o in locations.parse_objects(prediction["text"])]
  if odd := [o for o in prediction["objects"] if not isinstance(o["label"], str)]:
    raise ValueError(f"Image {prediction['image_id']!r}: the label of {odd[0]!r:.100} is no text.")
  return [(o["box"], o["label"].strip()) for o in prediction["objects"]]


def _scores(prediction, count):
  scores = prediction.get("scores")
  if scores is None:
    return [1.0] * count
  scores = [float(score) for score in scores]
  if len(scores) != count:
    raise ValueError(f"Image {prediction['image_id']!r}: {len(scores)} scores for {count} "
                     "objects. Give one score for each object that the text parses into.")
  if not all(map(math.isfinite, scores)):
    raise ValueError(f"Image {prediction['image_id']!r}: scores {scores} hold a NaN or an "
                     "infinity, which would make the ranking arbitrary.")
  return scores


def _dataset(rows, number, names):
  dataset = coco.COCO()
  dataset.dataset = {"images": [{"id": i} for i in number.values()], "annotations": rows,
                     "categories": list(names.values())}
  dataset.createIndex()
  return dataset
