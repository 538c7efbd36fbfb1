"""The report's gallery: predictions as JSON records, which the page's script draws when seen.

So that the page opens at once and can be mailed, it holds at most MOST_ROWS predictions, of which
at most MOST_PICTURES have their picture, shrunk to SIDE pixels; each task has its fair part of
both. Long texts are cut until all of it takes no more than DATA bytes.
"""
import collections
import io
import itertools
import json
import math

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageOps

from evaluators.report import panels
from evaluators.report.page import data_uri
from pp import locations
from pp.decode import orientation

MOST_ROWS = 10_000
MOST_PICTURES = 300
SIDE = 336
PICTURE = 24_000  # characters of an example's data URIs: 18 kB
NEIGHBOUR, NEIGHBOUR_SIDE = 5_000, 96  # characters and pixels of a neighbour's picture
DATA = 14_500_000  # bytes
CUTS = (4000, 2000, 1000, 500, 250, 120, 60, 30)  # characters of a text
MOST_REFERENCES = 20  # of an example, different ones
MOST_TOKENS = 64  # of which the confidence is drawn
LEVELS = "0123456789abcdefghijklmnopqrstuvwxyz"  # of confidence: 0 to 1 in 36 steps
TINY = 128  # pixels; up to here a picture is exact
INKS = {"pred": (247, 103, 7), "ref": (45, 164, 78)}  # of masks


def gallery(predictions):
  """{"total", "tally", "left_out": texts, "data": Markup of the JSON}; None without predictions."""
  if not predictions:
    return None
  fair = _fair(range(len(predictions)), predictions)
  pictured = [i for i in fair if predictions[i].get("image") is not None]
  drawn = set(pictured[:MOST_PICTURES])
  rest = (i for i in fair if i not in drawn)
  kept = sorted([*drawn, *itertools.islice(rest, MOST_ROWS - len(drawn))])
  records = [_record(predictions[i], f"predictions[{i}] (id {predictions[i]['id']!r})", i in drawn)
             for i in kept]
  for cut in CUTS:
    data = json.dumps({"rows": [{**record, **_texts(predictions[i], cut)}
                                for i, record in zip(kept, records)]},
                      ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    data = data.replace("<", "\\u003c")  # so that no text ends the script element
    if len(data.encode("utf-8", "replace")) <= DATA:
      break
  left_out = []
  if len(kept) < len(predictions):
    left_out.append(f"{len(kept):,} of {len(predictions):,} examples are here, "
                    "evenly of all tasks.")
  if len(pictured) > len(drawn):
    left_out.append(f"{len(drawn):,} examples have their picture.")
  return {"total": f"{len(predictions):,}", "tally": panels.tally(predictions),
          "left_out": " ".join(left_out), "data": Markup(data)}


def _fair(indices, predictions):
  """The indices, one of each task in turn."""
  by_task = collections.defaultdict(list)
  for i in indices:
    by_task[str(predictions[i]["task"])].append(i)
  return [i for some in itertools.zip_longest(*by_task.values()) for i in some if i is not None]


def _references(p):
  """[str] of the texts that an answer is compared with."""
  found = p.get("references")
  if isinstance(found, (str, bytes)):
    raise ValueError(f"The prediction {p['id']!r} of the report has the string {found!r} as its "
                     "references; give a list of strings.")
  if found is None:
    found = [p["suffix"]] if p.get("suffix") is not None else []
  return list(map(_text, found))


def _texts(p, most):
  """Prompt, answer and references with their counts, cut after so many characters."""
  def short(text):
    over = len(text) - most
    return text if over <= 0 else f"{text[:most]}\u2026 [{over:,} more characters]"

  prompt = p["prompt"] if p.get("prompt") is not None else p.get("prefix", "")
  counts = collections.Counter(_references(p)).most_common(MOST_REFERENCES)
  found = {"prompt": short(_text(prompt)), "refs": [[short(text), n] for text, n in counts]}
  if p["prediction"] or p.get("finish_reason") != "":
    found["answer"] = short(_text(p["prediction"]))
  if p.get("other"):
    found["otherAnswer"] = short(_text(p["other"]["prediction"]))
  return found


def _text(value):
  return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _record(p, where, pictured):
  """The script's record of a prediction but for its texts; unknown fields are left out."""
  score = p.get("score")
  record = {
      "task": _text(p["task"]), "id": _text(p["id"])[:200],
      "verdict": panels.verdict(p),
      "score": round(float(score), 4) if score is not None and math.isfinite(score) else None,
      "group": None if p.get("group") is None else _text(p["group"]),
      "end": _text(p["finish_reason"]) if p.get("finish_reason") else None,
      "names": {"pred": p["name"], "other": p["other"]["name"]} if p.get("other") else None,
      **_probabilities(p), **(_picture(p, where) if pictured else {}), **_near(p, where, pictured)}
  return {k: v for k, v in record.items() if v is not None}


def _probabilities(p):
  """Number of tokens, their mean log-probability, and each one's probability as one of LEVELS."""
  logprobs = p.get("logprobs")
  if logprobs is None or not len(logprobs):
    tokens = p.get("tokens")
    return {} if tokens is None else {"length": len(tokens)}
  values = np.asarray(logprobs, np.float64)
  values = np.where(np.isnan(values), -np.inf, values)
  steps = np.rint(np.exp(np.minimum(values[:MOST_TOKENS], 0)) * (len(LEVELS) - 1)).astype(int)
  mean = float(values.mean())
  return {"length": len(values), "mean": round(mean, 4) if math.isfinite(mean) else None,
          "confidence": "".join(LEVELS[step] for step in steps)}


def _picture(p, where):
  """The image with the boxes and masks over it, and the whole picture of which it was made."""
  whole = p.get("whole")
  most = PICTURE if whole is None else PICTURE // 2
  uri, width, height = embed(p["image"], where, most)
  found = {"image": [uri, width, height]}
  found["whole"] = None if whole is None else list(embed(whole, where, most))
  for kind, text in ("pred", p["prediction"]), ("ref", next(iter(_references(p)), "")):
    if (boxes := p.get(f"{kind}_boxes")) is None:
      boxes = [{"box": o.box, "label": o.label} for o in locations.parse_objects(_text(text))]
    found[kind] = [_box(box, where) for box in boxes] or None
  if p.get("other"):
    found["other"] = [_box(box, where) for box in p["other"]["boxes"]] or None
  for kind, ink in INKS.items():
    if p.get(f"{kind}_mask") is not None:
      found[f"{kind}Mask"] = _stain(p[f"{kind}_mask"], ink, (width, height), where)
  return found


def _near(p, where, pictured):
  """What an evaluator of vectors found nearest: texts, and pictures to the first of its texts."""
  found = {"nearTexts": [[text[:CUTS[-3]], cosine, right]
                         for text, cosine, right in p.get("nearest_texts", ())] or None}
  if pictured and p.get("neighbours"):
    found["nearImages"] = [[*embed(image, where, NEIGHBOUR, NEIGHBOUR_SIDE), cosine, right]
                           for image, (_, cosine, right)
                           in zip(p["neighbours"], p["nearest_images"])]
  return found


def _box(box, where):
  """[ymin, xmin, ymax, xmax, label] for the script."""
  edges = [float(v) for v in box["box"]]
  if len(edges) != 4 or not all(map(math.isfinite, edges)):
    raise ValueError(f"{where}: the box {box['box']} is not four finite numbers, so it cannot be "
                     "drawn.")
  label, score = str(box.get("label") or ""), box.get("score")
  if score is not None and math.isfinite(score):
    label = f"{label} {score:.2f}".strip()
  return [*(round(v, 4) for v in edges), label[:120]]


def _stain(mask, ink, size, where):
  """A mask as a translucent picture for the whole of the image's."""
  mask = np.asarray(mask)
  if mask.ndim != 2 or not mask.size:
    raise ValueError(f"{where}: a mask is [H, W] and not empty; this is {list(mask.shape)}.")
  alpha = Image.fromarray((mask > 0).astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
  alpha.putpalette([0, 0, 0, *ink])
  return data_uri(alpha, "PNG", transparency=bytes([0, 130]), bits=1, optimize=True)


def embed(image, where, most=PICTURE, side=SIDE):
  """(data URI of at most so many characters, width, height) of an array or of encoded bytes;
  shrunk, but for tiny ones, to a side of so many pixels."""
  encoded = bytes(image) if isinstance(image, (bytes, bytearray, memoryview)) else None
  if encoded is not None:
    try:
      picture = Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG"))
      picture.load()
      if orientation(picture) != 1:
        picture = ImageOps.exif_transpose(picture)  # as viewers show it, and as own data are read
    except (OSError, SyntaxError, ValueError) as error:
      raise ValueError(f"{where}: the image bytes are not a readable PNG or JPEG "
                       f"({error}; they begin with {encoded[:8]!r}).") from error
  else:
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3, 4):
      raise ValueError(f"{where}: an image is uint8 [H, W, 1 or 3 or 4] or PNG or JPEG bytes; "
                       f"this is {array.dtype} {list(array.shape)}.")
    if not array.size:
      raise ValueError(f"{where}: the image is empty, {list(array.shape)}.")
    picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
  if max(picture.size) <= TINY and len(uri := data_uri(picture, "PNG")) <= most:
    return uri, *picture.size
  picture = picture.convert("RGB")
  picture.thumbnail((side, side))
  for quality in (85, 75, 60, 40, 20, 5):
    if len(uri := data_uri(picture, "JPEG", quality=quality)) <= most:
      break
  return uri, *picture.size
