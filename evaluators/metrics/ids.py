"""Predictions and references brought together; nothing is dropped or counted twice."""
import collections


def keyed(rows, key, value):
  """{row[key]: row[value]} of a submission's rows, such as {"question_id": 1, "answer": "red"}.

  Raises:
    ValueError: where an id comes twice, or a row lacks a key.
  """
  rows = list(rows)
  if lacking := [i for i, row in enumerate(rows) if key not in row or value not in row]:
    raise ValueError(f"{len(lacking)} of {len(rows)} rows lack {key!r} or {value!r}, e.g. row "
                     f"{lacking[0]}, which has {sorted(rows[lacking[0]])}.")
  counts = collections.Counter(row[key] for row in rows)
  if twice := [i for i, n in counts.items() if n > 1]:
    raise ValueError(f"{len(twice)} ids come more than once, e.g. {twice[:3]}: which prediction "
                     "counts? Keep one for each.")
  return {row[key]: row[value] for row in rows}


def paired(predictions, references):
  """[(id, prediction, reference)] in the order of the references.

  Args:
    predictions, references: {id: anything}.

  Raises:
    ValueError: where the ids differ, or there are none.
  """
  unknown = [i for i in predictions if i not in references]
  missing = [i for i in references if i not in predictions]
  if unknown or missing:
    raise ValueError(
        f"Predictions and references must have the same ids. {len(unknown)} of {len(predictions)} "
        f"predictions are for unknown ids, e.g. {unknown[:3]}; {len(missing)} of {len(references)} "
        f"ids have no prediction, e.g. {missing[:3]}. An id 1 is not an id '1'.")
  if not references:
    raise ValueError("No predictions and no references: the set is empty.")
  return [(i, predictions[i], reference) for i, reference in references.items()]


def unique(records, what):
  """{record["id"]: record}, such as images or categories.

  Raises:
    ValueError: where there are none, or an id comes twice.
  """
  if not records:
    raise ValueError(f"No {what}: nothing to evaluate.")
  counts = collections.Counter(record["id"] for record in records)
  if twice := [i for i, n in counts.items() if n > 1]:
    raise ValueError(f"{len(twice)} ids stand more than once in {what}, e.g. {twice[:3]}.")
  return {record["id"]: record for record in records}


def by_image(predictions, images):
  """{image_id: prediction} of predictions with an "image_id" each; images: {id: anything}.

  Raises:
    ValueError: where an image is unknown or has two predictions.
  """
  found = {}
  for prediction in predictions:
    image_id = prediction["image_id"]
    if image_id not in images:
      raise ValueError(f"Prediction for image {image_id!r}, which is not among the {len(images)} "
                       f"images, e.g. {list(images)[:3]}. An id 1 is not an id '1'.")
    if image_id in found:
      raise ValueError(f"Two predictions for image {image_id!r}: give one, with all objects.")
    found[image_id] = prediction
  return found


def rows(**columns):
  """Lists of equal length as a list of tuples: rows(predictions=[...], targets=[...]).

  Raises:
    ValueError: where they differ in length, or are empty.
  """
  lists = {name: list(column) for name, column in columns.items()}
  counts = [f"{len(column)} {name}" for name, column in lists.items()]
  if len({len(column) for column in lists.values()}) > 1:
    raise ValueError(f"There are {', '.join(counts)}: give one of each per question.")
  if not next(iter(lists.values())):
    raise ValueError(f"There are {', '.join(counts)}: the set is empty.")
  return list(zip(*lists.values()))
