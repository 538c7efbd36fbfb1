"""The answers of `tools.predict --input`, or the vectors of tools.index: a file that grows and
survives a kill, then the result.

OUT.partial has a header that says what is asked of which model, then a line for each request in the
order in which batches are decoded. When all are there, OUT is written at once, in the order of the
input, as JSONL or as COCO, and OUT.partial goes.
"""
import json

from etils import epath
from pycocotools import mask as masks

from big_vlm import files, reporting
from tools import predict_input

SHOWN = 5  # names of what was skipped


class Partial:
  """Appends rows {"at": number of the request, "digest": of its content, "answer" or "error"}.

  rows: what an earlier run left, without "answer"; kept: how many stay. about: {what: JSON value},
  what an answer depends on. Raises ValueError where that run was another, which says in what, and
  for a result that is there already.
  """

  def __init__(self, out, about):
    check_new(out)
    self.path, self._file = partial(out), None
    self._header = (json.dumps({"about": about}, ensure_ascii=False) + "\n").encode()
    data = self.path.read_bytes() if self.path.exists() else b""
    # What a kill cut short has no newline.
    head, *self._lines = data.split(b"\n")[:-1] or [b""]
    if data and head + b"\n" != self._header:
      self._refuse(head, about)
    self.rows = [{k: v for k, v in json.loads(line).items() if k != "answer"}
                 for line in self._lines]

  def _refuse(self, head, about):
    """Raises ValueError unless the header of another run is all that there is."""
    try:
      was = json.loads(head)["about"]
    except (ValueError, KeyError, TypeError):
      raise ValueError(f"{self.path} was not written by tools.predict or tools.index. Give another "
                       "--out, or delete it.") from None
    if not self._lines:
      return
    changed = [f"{key} was {was.get(key)!r:.200} and is {about.get(key)!r:.200}"
               for key in dict.fromkeys([*was, *about]) if was.get(key) != about.get(key)]
    raise ValueError(f"{self.path} has answers of another run: {'; '.join(changed)}. Run the same "
                     "command to resume it, give another --out, or delete the file to start anew.")

  def start(self, requests, count):
    """Keeps the first `count` rows of the earlier run; ValueError where what one is of, among the
    requests of predict_input, has changed since."""
    note = reporting.counter("reading again what was done", "requests")
    for done, row in enumerate(self.rows[:count], 1):
      try:
        found = predict_input.digest(requests[row["at"]])
      except (ValueError, OSError):
        found = ""
      if found != row["digest"]:
        raise ValueError(f"{requests.where(row['at'])} has changed since {self.path} got its "
                         "answer. Delete that file to start anew, or give another --out.")
      note(done, count)
    data = b"".join(line + b"\n" for line in self._lines[:count])
    self._file, self.kept = files.Appender(self.path, self._header + data), count
    self._lines, self.rows = [], []

  def add(self, rows):
    self._file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

  def close(self):
    self._file.close()

  def read(self):
    """Yields all rows by the number of their request."""
    places, at = {}, len(self._header)
    with self.path.open("rb") as file:
      file.seek(at)
      for line in file:
        places[json.loads(line)["at"]] = at
        at += len(line)
      for _, start in sorted(places.items()):
        file.seek(start)
        yield json.loads(file.readline())

  def tell_skipped(self, what):
    """Prints which rows are errors, `what` counting them all; returns how many."""
    rows, skipped = 0, []
    for row in self.read():
      rows += 1
      skipped += [row["error"]] if "error" in row else []
    for problem in skipped[:SHOWN]:
      print(f"skipped: {problem}")
    if skipped:
      print(f"{len(skipped):,} of {rows:,} {what} are skipped"
            + f", {len(skipped) - SHOWN:,} more than these" * (len(skipped) > SHOWN))
    return len(skipped)


def check_new(out):
  """Raises ValueError for a result that is there already, of a run that was not killed."""
  if epath.Path(out).exists() and not partial(out).exists():
    raise ValueError(f"{out} is there already. Give another --out, or delete it to start anew.")


def partial(out):
  """epath.Path of the file that grows to be `out`."""
  return epath.Path(f"{out}.partial")


def write(out, pieces):
  """Writes [str] as a file that is there whole or not at all."""
  if not files.is_local(out):
    return files.write_atomic(out, "".join(pieces))
  with files.replacing(out) as part, part.open("w", encoding="utf-8", newline="\n") as file:
    file.writelines(pieces)


def as_jsonl(answers):
  """Yields a JSON line of each answer."""
  for answer in answers:
    yield json.dumps(answer, ensure_ascii=False) + "\n"


def as_coco(answers):
  """Yields the pieces of a COCO file: images, and an annotation with its score for each object.

  Each file is one image, numbered by the ids of the input where these are whole numbers, else from
  1. Categories are the labels in their order, from 1.
  """
  images, objects = {}, []
  for answer in answers:
    height, width = answer["image_size"]
    number = answer["id"] if type(answer["id"]) is int else None
    image = images.setdefault(answer["image"], {
        "id": number, "file_name": answer["image"], "width": width, "height": height})
    objects += [(image, found) for found in answer["detections"]]
  given = [image["id"] for image in images.values()]
  if None in given or len(set(given)) < len(given):
    for i, image in enumerate(images.values(), 1):
      image["id"] = i
  labels = {label: i for i, label in enumerate(sorted({o["label"] for _, o in objects}), 1)}
  annotations = []
  for i, (image, found) in enumerate(objects, 1):
    top, left, bottom, right = found["box"]
    width, height, rle = right - left, bottom - top, found.get("mask")
    annotations.append({
        "id": i, "image_id": image["id"], "category_id": labels[found["label"]],
        "bbox": [left, top, width, height], "iscrowd": 0, "score": found["score"],
        "area": int(masks.area(rle)) if rle else max(width, 0) * max(height, 0),
        **({"segmentation": rle} if rle else {})})
  yield json.dumps({
      "images": list(images.values()), "annotations": annotations,
      "categories": [{"id": i, "name": label} for label, i in labels.items()]},
      ensure_ascii=False, indent=1) + "\n"


FORMATS = {"jsonl": as_jsonl, "coco": as_coco}
