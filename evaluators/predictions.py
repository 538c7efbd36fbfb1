"""Predictions: as JSON, from all processes, in files from which a killed evaluation resumes.

A prediction is the model's answer to one example, with all that the pp string kept of it:

  {"id", "prefix", "suffix", ..., "image_size": [h, w], "image_digest": str, "prediction": str,
   "tokens": [int], "logprobs": [float], "finish_reason": str}

The digest is of what the model sees: predictions about one image have the same.

Scoring adds "score" (the number that is averaged, or None), "correct" (bool, or None where nothing
is right or wrong), "references" [str], and maybe "group" (type of question), "pred_boxes" and
"ref_boxes" [{"box", "label", "score"}], "pred_mask" and "ref_mask" (bool [H, W]). For a report
there are "image", what the model sees, and "whole", the picture as it came (uint8 [H, W, 3]).

Values are JSON values from the start, so that a prediction read from a file scores as it did
before. Images, and bytes that are not text, such as the PNG of a mask, are {"base64": str};
to_image reads them.
"""
import base64
import collections
import io
import json

import jax
import numpy as np
from etils import epath
from flax import serialization
from PIL import Image

from big_vlm import distributed, files
from pp.decode import FORMATS, decode_image
from pp.names import near_miss

DRAWN = ("image", "whole", "pred_mask", "ref_mask", "neighbours")  # arrays that stay out of files
WHOLE = 336  # pixels of the longer side of a picture as it came
SMALL = 4096  # elements of an array of uint8 that is written as numbers


class MissingKey(ValueError):
  """Predictions lack a key that their evaluator needs."""


def require_keys(predictions, keys, type):
  """Raises ValueError if there are no predictions, MissingKey if one lacks a key."""
  if not predictions:
    raise ValueError(f"The evaluator {type!r} has nothing to score: the data set is empty.")
  for p in predictions:
    for key in keys:
      if p.get(key) is None:
        raise MissingKey(
            f"The evaluator {type!r} scores by {key!r}, which the prediction {p.get('id')!r} lacks."
            f"{near_miss(key, p)} It has {', '.join(map(str, p))}. Have the eval's pp string "
            f"make it, and keep({key!r}, ...) it.")


def read_suffixes(predictions, type):
  """Makes the "suffix" of each prediction a text, its only reference. Raises as require_keys() and
  answer_text()."""
  require_keys(predictions, ["suffix"], type)
  for p in predictions:
    p["suffix"] = answer_text(p["suffix"], p)
    p["references"] = [p["suffix"]]


def answer_text(answer, p):
  """The text of an annotator's answer: a text, a number, or a record {"answer": ...} as VQAv2's.

  Raises ValueError for anything else; p: its prediction, which is named.
  """
  answer = to_json(answer)
  if isinstance(answer, dict) and "answer" in answer:
    answer = to_json(answer["answer"])
  if isinstance(answer, bool) or not isinstance(answer, (str, int, float)) or answer != answer:
    raise ValueError(f"The question {p.get('id')!r} has the answer {answer!r:.80}, which is "
                     'neither a text nor a number, nor a record {"answer": text}. Write it as '
                     "the text that the model is to answer.")
  return str(answer)


def to_json(value):
  """numpy arrays, numpy scalars and bytes as JSON values."""
  if isinstance(value, bytes):
    try:
      return value.decode()
    except UnicodeDecodeError:
      return {"base64": base64.b64encode(value).decode()}
  if isinstance(value, np.ndarray):
    if value.dtype in (np.uint8, np.bool_) and value.ndim > 1 and value.size > SMALL:
      return {"base64": base64.b64encode(_png(value)).decode()}
    return [to_json(v) for v in value.tolist()] if value.ndim else to_json(value.item())
  if isinstance(value, np.generic):
    return value.item()
  if isinstance(value, (list, tuple)):
    return [to_json(v) for v in value]
  if isinstance(value, dict):
    return {k: to_json(v) for k, v in value.items()}
  return value


def to_image(value):
  """The array [H, W] or [H, W, C] of an image that to_json() wrote, or of lists of numbers."""
  if isinstance(value, dict) and "base64" in value:
    data = io.BytesIO(base64.b64decode(value["base64"]))
    return np.asarray(Image.open(data, formats=FORMATS))
  return np.asarray(value)


def _png(image):
  image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
  out = io.BytesIO()
  Image.fromarray(image * np.uint8(255) if image.dtype == np.bool_ else image).save(out, "PNG")
  return out.getvalue()


def to_display(image):
  """uint8 [H, W, 3] of an image; of several images or frames, up to four side by side."""
  image = np.asarray(image)
  if image.ndim == 4:
    image = np.concatenate(image[np.linspace(0, len(image) - 1, min(len(image), 4)).astype(int)], 1)
  if image.dtype == np.uint8:
    return image
  return np.clip((image + 1) * 127.5, 0, 255).round().astype(np.uint8)


def whole_picture(example, shown):
  """uint8 [H, W, 3], shrunk: the picture of an example as its source has it, turned upright as its
  EXIF says; of several the first four side by side. None where there is none, as of a video, or
  where it is what the model sees, `shown`."""
  found = example.get("image")
  found = found if isinstance(found, (list, tuple)) else [found]
  if not all(isinstance(x, bytes) or getattr(x, "ndim", 0) == 3 and x.dtype == np.uint8
             for x in found):
    return None
  pictures = [decode_image(x, exif=True) if isinstance(x, bytes) else x for x in found[:4]]
  if len(found) == 1 and np.array_equal(pictures[0], shown):
    return None
  height = min(WHOLE, max(len(x) for x in pictures))
  sized = [np.asarray(Image.fromarray(x).resize(
      (max(1, round(x.shape[1] * height / len(x))), height))) for x in pictures]
  whole = Image.fromarray(np.concatenate(sized, axis=1))
  whole.thumbnail((WHOLE, WHOLE))
  return np.asarray(whole)


def gather_in_order(predictions, indices):
  """The predictions {index: prediction} of all processes as a list; [] but on process 0.

  Raises AssertionError unless each of `indices` is there once.
  """
  if jax.process_count() > 1:
    everyone = distributed.all_gather_bytes(serialization.msgpack_serialize(
        {str(i): [list(p), list(p.values())] for i, p in predictions.items()}))
    if not distributed.is_primary_process():
      return []
    parts = [serialization.msgpack_restore(data) for data in everyone]
    predictions = {int(i): dict(zip(*p)) for part in parts for i, p in part.items()}
    assert sum(map(len, parts)) == len(predictions), "an example was evaluated by two processes"
  assert sorted(predictions) == list(indices), (sorted(predictions), indices)
  return [predictions[i] for i in sorted(predictions)]


class ResumableWriter:
  """Writes predictions to a file as they are made; a killed run finds them there.

  The file is a header, then one prediction a line. Predictions of another evaluation or of other
  parameters, as the key in the header tells, are dropped, and so is a line that a kill cut short.
  """

  def __init__(self, path, key):
    path, self.predictions = epath.Path(path), []
    header = json.dumps({"key": key}) + "\n"
    text = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
    if text.startswith(header):
      self.predictions = [json.loads(line) for line in text[len(header):].split("\n")[:-1]]
    elif text:
      print(f"{path} is of another checkpoint or configuration: re-evaluating from scratch")
    self._file = files.Appender(path, header + "".join(map(_line, self.predictions)))

  def add(self, predictions):
    self._file.write("".join(map(_line, predictions)))

  def close(self):
    self._file.close()


def write_predictions(path, predictions):
  """Writes one JSON object a prediction and line, without images, or one list of them where the
  path ends in ".json"; replaces the file when whole."""
  lines = list(map(_line, predictions))
  as_list = str(path).endswith(".json")
  files.write_atomic(path, f"[{','.join(lines)}]\n" if as_list else "".join(lines))


def _line(prediction):
  kept = {k: to_json(v) for k, v in prediction.items() if k not in DRAWN}
  return json.dumps(kept, ensure_ascii=False) + "\n"


def majority_class(predictions):
  """The answer of the majority-class baseline to each example, fitted on these same examples.

  That is the most frequent "suffix" of all with its "prefix"; where the prompt is asked only once,
  of all examples. Of equally frequent ones the first counts.
  """
  of_prompt, overall = collections.defaultdict(collections.Counter), collections.Counter()
  for p in predictions:
    of_prompt[p["prefix"]][p["suffix"]] += 1
    overall[p["suffix"]] += 1
  best = {prompt: (answers if answers.total() > 1 else overall).most_common(1)[0][0]
          for prompt, answers in of_prompt.items()}
  return [best[p["prefix"]] for p in predictions]
