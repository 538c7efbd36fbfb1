"""Rows of evaluations: as JSON, from all processes, in files that a killed run goes on from.

A row is what a model said about one example, with all that the pp string kept of it:

  {"id", "prefix", "suffix", ..., "image_size": [h, w], "prediction": str, "tokens": [int],
   "logprobs": [float], "finish_reason": str}

and after scoring "score" (what is averaged, or None), "correct" (bool, or None where there is no
right and wrong), "references" [str], and maybe "group" (type of question), "pred_boxes" and
"ref_boxes" [{"box", "label", "score"}], "pred_mask" and "ref_mask" (bool [H, W]).

Values are what JSON has from the start, so that a row from a file scores as it did before. Bytes
that are no text, such as the PNG of a mask, and images are {"base64": str}; to_image reads them.
"""
import base64
import collections
import io
import itertools
import json
import os

import jax
import numpy as np
from flax import serialization
from PIL import Image

from big_vlm import distributed
from pp.names import near_miss

DRAWN = ("image", "pred_mask", "ref_mask")  # arrays that stay out of files
SMALL = 4096  # elements of an array of uint8 that is written as numbers


def need(rows, keys, kind):
  """Raises ValueError where there are no rows, or one lacks a key that the kind scores by."""
  if not rows:
    raise ValueError(f"There is nothing for the kind {kind!r} to score: the data set is empty.")
  for row in rows:
    for key in keys:
      if row.get(key) is None:
        raise ValueError(
            f"The kind {kind!r} scores by {key!r}, which the row {row.get('id')!r} lacks."
            f"{near_miss(key, row)} It has {', '.join(map(str, row))}. Have the eval's pp string "
            f"make it, and keep({key!r}, ...) it.")


def plain(value):
  """numpy and bytes as JSON has them."""
  if isinstance(value, bytes):
    try:
      return value.decode()
    except UnicodeDecodeError:
      return {"base64": base64.b64encode(value).decode()}
  if isinstance(value, np.ndarray):
    if value.dtype in (np.uint8, np.bool_) and value.ndim > 1 and value.size > SMALL:
      return {"base64": base64.b64encode(_png(value)).decode()}
    return [plain(v) for v in value.tolist()] if value.ndim else plain(value.item())
  if isinstance(value, np.generic):
    return value.item()
  if isinstance(value, (list, tuple)):
    return [plain(v) for v in value]
  if isinstance(value, dict):
    return {k: plain(v) for k, v in value.items()}
  return value


def to_image(value):
  """The array [H, W] or [H, W, C] of an image that plain() wrote, or of rows of numbers."""
  if isinstance(value, dict) and "base64" in value:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(value["base64"]))))
  return np.asarray(value)


def _png(image):
  image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
  out = io.BytesIO()
  Image.fromarray(image * np.uint8(255) if image.dtype == np.bool_ else image).save(out, "PNG")
  return out.getvalue()


def shown(image):
  """uint8 [H, W, 3] to look at: several images or frames of an example, four at most, in a row."""
  image = np.asarray(image)
  if image.ndim == 4:
    image = np.concatenate(image[np.linspace(0, len(image) - 1, min(len(image), 4)).astype(int)], 1)
  if image.dtype == np.uint8:
    return image
  return np.clip((image + 1) * 127.5, 0, 255).round().astype(np.uint8)


def in_order(rows, indices):
  """The rows {index: row} of all processes as a list; [] but on process 0.

  Raises AssertionError unless each of `indices` is there once.
  """
  if jax.process_count() > 1:
    everyone = distributed.all_gather_bytes(serialization.msgpack_serialize(
        {str(i): [list(row), list(row.values())] for i, row in rows.items()}))
    if not distributed.is_primary_process():
      return []
    parts = [serialization.msgpack_restore(data) for data in everyone]
    rows = {int(i): dict(zip(*row)) for part in parts for i, row in part.items()}
    assert sum(map(len, parts)) == len(rows), "an example was evaluated by two processes"
  assert sorted(rows) == list(indices), (sorted(rows), indices)
  return [rows[i] for i in sorted(rows)]


class Kept:
  """The rows that a run has made so far, in a file: a header, then a row a line.

  Those of another evaluation or other parameters, which the header's key tells, are dropped, and so
  is a line that a kill has cut.
  """

  def __init__(self, path, key):
    self._path, self.rows = path, []
    header = json.dumps({"key": key}) + "\n"
    text = path.read_text("utf-8", errors="replace") if path.exists() else ""
    if text.startswith(header):
      for line in text[len(header):].split("\n")[:-1]:
        self.rows.append(json.loads(line))
    elif text:
      print(f"{path} is of another checkpoint or configuration: all is evaluated anew")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(header + "".join(map(_line, self.rows)), "utf-8")
    os.replace(temporary, path)

  def add(self, rows):
    with self._path.open("a", encoding="utf-8") as f:
      f.write("".join(map(_line, rows)))


def write_rows(path, rows):
  """One JSON object per row and line, without images; the file is replaced when whole."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(path.name + ".tmp")
  temporary.write_text("".join(map(_line, rows)), "utf-8")
  os.replace(temporary, path)


def _line(row):
  kept = {k: plain(v) for k, v in row.items() if k not in DRAWN}
  return json.dumps(kept, ensure_ascii=False) + "\n"


def majority(rows):
  """For each row the most frequent "suffix" among the other rows with its "prefix", or among all
  others where the prompt is unique: leaving the row itself out, it does not see its own answer."""
  by_prompt = {}
  for row in rows:
    by_prompt.setdefault(row["prefix"], collections.Counter())[row["suffix"]] += 1
  overall = _likely(collections.Counter(row["suffix"] for row in rows)) if rows else []
  likely = {prompt: _likely(answers) for prompt, answers in by_prompt.items()}
  for row in rows:
    guesses = (_other(likely[row["prefix"]], row), _other(overall, row), overall[0][2])
    yield next(guess for guess in guesses if guess is not None)


def _likely(answers):
  """[(count, -place, answer)]: the few of a Counter of which one is the most frequent whichever
  answer is counted once less; of equals the first."""
  ranked = [(n, -place, answer) for place, (answer, n) in enumerate(answers.items())]
  most = max(ranked)[0]
  first = lambda n, count: itertools.islice((r for r in ranked if r[0] == n), count)
  return [*first(most, 2), *first(most - 1, 1)]


def _other(likely, row):
  """The most frequent answer without this row's own; None where no other is left."""
  n, _, answer = max((n - (answer == row["suffix"]), place, answer) for n, place, answer in likely)
  return answer if n else None
