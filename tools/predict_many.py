"""Answers to many requests, for `tools.predict --input`: decoded in batches, as in an evaluation.

Requests of one shape (images of an example, length of the prompt) share batches, whatever their
prompts. Each process of a run reads and decodes its rows of every batch, and process 0 writes.
"""
import collections
import dataclasses
import functools
import hashlib
import json
import time

import numpy as np
from pycocotools import mask as masks

from big_vlm import distributed, inputs, presets, prompt_input, reporting
from big_vlm.batch import check_batch
from big_vlm.decode import detections
from big_vlm.decode.answers import Generation
from evaluators import common, decoding, report
from evaluators.predictions import whole_picture
from pp.builder import get_preprocess_fn
from pp.context import Context
from pp.decode import decode_image
from tools import answers_file, predict_input

SHORTEST = 16  # tokens of a row where the model does not say what it was trained with
ROWS, PICTURES = 10_000, 300  # answers, and those with their picture, on a page


@dataclasses.dataclass(frozen=True)
class Group:
  """Requests of one shape."""
  kind: str  # "image", "images" or "video"
  images: int  # of each request; frames of a video
  length: int  # tokens of a row
  indices: list  # numbers of the requests

  def whole(self, done, batch_size):
    """How many of the first `done` are in whole batches: only they are the same after a kill."""
    return done if done >= len(self.indices) else done - done % batch_size


class Reader:
  """The requests of predict_input as a VLM reads them.

  num_frames: of a video. skip: what cannot be read becomes an example with an "error".
  """

  def __init__(self, vlm, requests, num_frames=16, skip=False):
    self._vlm, self._requests, self._skip = vlm, requests, skip
    self._num_frames, self._frames = num_frames, get_preprocess_fn(f"decode_video({num_frames})")

  def pictures(self, request):
    """uint8 [H, W, 3] of the image of a request, turned upright as its EXIF says; those of several,
    or of the frames of a video."""
    if "video" in request:
      return self._frames(request)["image"]
    image = request["image"]
    return ([decode_image(x, exif=True) for x in image] if isinstance(image, list)
            else decode_image(image, exif=True))

  def groups(self, new):
    """[Group] of all requests; new: the most tokens of an answer.

    Raises ValueError for one that does not fit the model.
    """
    limits, found = inputs.model_limits(self._vlm.config), collections.defaultdict(list)
    lengths = functools.cache(lambda prompt, images: len(prompt_input.ids(
        prompt, self._vlm.tokenizer, images)))
    for i, (prompt, (kind, images)) in enumerate(zip(self._requests.prompts, self._requests.kinds)):
      try:
        length = lengths(prompt, images)
      except ValueError as e:
        raise ValueError(f"{self._requests.where(i)}: {e}") from None
      images = self._num_frames if kind == "video" else images
      room = limits.tokens - images * limits.image_tokens - new
      if length > room:
        raise ValueError(
            f"{self._requests.where(i)}: a prompt of {length} tokens, "
            f"{images * limits.image_tokens} of images and an answer of up to {new} are more than "
            f"the {limits.tokens} that the model takes: shorten the prompt, or give a smaller "
            "--max_new_tokens.")
      # As long as in an evaluation, so that answers are the same to the last digit.
      usual = self._vlm.text_len or SHORTEST
      row = min(usual if length <= usual else inputs.bucket(length), room)
      found[kind, images, row].append(i)
    return [Group(*key, indices) for key, indices in sorted(found.items())]

  def preprocess(self, group):
    """A function: number of a request of the group -> example, with its "index", "digest", "size",
    [height, width] of its picture, and maybe "error"."""
    keep = ("id", "index", "digest", "size", "error")
    context = Context(self._vlm.tokenizer_name, group.length, self._vlm.image_size, train=False)
    finish = get_preprocess_fn(f"resize(antialias=True)|text_layout(keep={keep})", context)

    def preprocess(index):
      known = {"index": index, "id": self._requests.ids[index], "_id": str(index), "digest": "",
               "prefix": self._requests.prompts[index]}
      try:
        request = self._requests[index]
        known["digest"] = predict_input.digest(request)
        image = self.pictures(request)
        first = image if group.kind == "image" else image[0]
        return finish({**known, "image": image, "size": list(first.shape[:2])})
      except (ValueError, OSError) as e:
        problem = f"{self._requests.where(index)}: {e}"
        if not self._skip:
          raise (OSError if isinstance(e, OSError) else ValueError)(problem) from e
        blank = np.zeros((8, 8, 3), np.uint8)
        return finish({**known, "error": problem, "image": (
            blank if group.kind == "image" else [blank] * group.images)})
    return preprocess


def write(vlm, requests, config, out, *, batch_size=32, num_frames=16, on_error="raise",
          decoder=None, format="jsonl", html=None):
  """Writes the answers of a VLM to all requests to `out`, in a format of answers_file.FORMATS, and
  a page with pictures to `html`. A run that was killed resumes behind its last whole batch.

  config: a GenerationConfig; its seed and the number of a request give the seed of a draw.
  on_error: "skip" leaves out requests whose image cannot be read. decoder: parameters of the VQ-VAE
  of masks.

  Raises ValueError for a request that does not fit the model or whose image is broken, and where
  an earlier run left a file that is of another one.
  """
  reader = Reader(vlm, requests, num_frames, on_error == "skip")
  groups = reader.groups(config.max_new_tokens)
  about = _about(vlm, requests, config, batch_size, num_frames, decoder)
  distributed.assert_same(json.dumps(about), "requests")
  file = None

  def resume():
    nonlocal file
    file = answers_file.Partial(out, about)
    return _resume(file, requests, groups, batch_size, on_error)
  done = begin = distributed.broadcast_from_primary(resume)
  note, began = reporting.counter("answers", "requests", begin), time.perf_counter()
  decode = decoding.Decoder(vlm.model, vlm.tokenizer, vlm.mesh, batch_size, config).answer
  for group in groups:
    start, indices = min(begin, len(group.indices)), np.array(group.indices)
    begin -= start
    if start == len(indices):
      continue
    answer = lambda device, at, real, indices=indices: decode(
        vlm.params, device, indices[np.minimum(at, len(indices) - 1)], real)
    check = lambda device, host: check_batch(device, False, vlm.config.llm.vocab_size)
    for made, _ in decoding.predictions(group.indices, reader.preprocess(group), answer, vlm.mesh,
                                        batch_size, start=start, check=check):
      if made:
        file.add([_row(vlm, requests, p, decoder) for p in made])
        done += len(made)
        note(done, len(requests))
  if file:
    file.close()
    fresh, seconds = len(requests) - file.kept, time.perf_counter() - began
    _finish(file, requests, out, format, html, reader)
    print(f"{fresh:,} of {len(requests):,} requests answered in {reporting.clock(seconds)}, "
          f"{fresh / seconds:.1f} requests/s: {out}")


def _about(vlm, requests, config, batch_size, num_frames, decoder):
  """{what: JSON value}: what the answers depend on."""
  short = lambda *values: hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
  prompts = list(dict.fromkeys(requests.prompts))
  model = short(repr(vlm.config), common.fingerprint(vlm.params))
  return {
      "model": f"{presets.describe(vlm.config)}, checksum {model}",
      "prompt": prompts[0] if len(prompts) == 1 else f"checksum {short(requests.prompts)}",
      "input": f"{len(requests)} requests, checksum of their names "
               f"{short(requests.ids, requests.names, requests.kinds)}",
      **{key: getattr(config, key) for key in ("sampler", "max_new_tokens", "seed", "grammar")},
      "batch_size": batch_size, "num_frames": num_frames,
      "masks": decoder and f"checksum {common.fingerprint(decoder)}"}


def _resume(file, requests, groups, batch_size, on_error):
  """Starts an answers_file.Partial behind what an earlier run left; returns how many rows it keeps.

  Raises ValueError for a request whose content has changed since.
  """
  left, keep = len(file.rows), 0
  for group in groups:
    keep += group.whole(min(left, len(group.indices)), batch_size)
    left -= min(left, len(group.indices))
  for row in file.rows[:keep]:
    if "error" in row and on_error == "raise":
      raise ValueError(row["error"])
  file.start(requests, keep)
  return keep


def _row(vlm, requests, p, decoder):
  """The row of answers_file.Partial for a prediction."""
  row = {"at": p["index"], "digest": p["digest"]}
  if p.get("error"):
    return {**row, "error": p["error"]}
  generation = Generation(p["prediction"], p["tokens"], p["logprobs"], p["finish_reason"])
  found = detections.from_generation(generation, vlm.tokenizer, tuple(p["size"]), decoder)
  return {**row, "answer": {
      "id": p["id"], "image": requests.names[p["index"]], "prompt": requests.prompts[p["index"]],
      "text": generation.text, "finish_reason": generation.finish_reason,
      "tokens": generation.tokens, "logprobs": generation.logprobs, "image_size": p["size"],
      "detections": list(map(_detection, found))}}


def _detection(found):
  made = {"label": found.label, "box": [round(x, 3) for x in found.box],
          "score": found.score and round(found.score, 5)}
  if found.mask is not None:
    rle = masks.encode(np.asfortranarray(found.mask.astype(np.uint8)))
    made["mask"] = {"size": rle["size"], "counts": rle["counts"].decode()}
  return made


def _finish(file, requests, out, format, html, reader):
  """The result, the page, and what was skipped."""
  answers = (row["answer"] for row in file.read() if "answer" in row)
  answers_file.write(out, answers_file.FORMATS[format](answers))
  file.tell_skipped("requests")
  if html:
    print(f"page: {page(html, file, requests, reader)}")
  file.path.unlink()


def page(path, file, requests, reader):
  """Writes the HTML page of the first ROWS answers, of which PICTURES, evenly, have their picture
  with the objects that they name."""
  rows = [row for row, _ in zip((r for r in file.read() if "answer" in r), range(ROWS))]
  drawn = set(np.linspace(0, len(rows) - 1, min(len(rows), PICTURES)).astype(int).tolist())
  shown = []
  for i, row in enumerate(rows):
    at, answer = row["at"], row["answer"]
    p = {"task": "answers", "id": answer["id"], "prompt": answer["prompt"],
         "prediction": answer["text"], "pred_boxes": [],
         **{key: answer[key] for key in ("finish_reason", "tokens", "logprobs")}}
    if i in drawn:
      found = reader.pictures(requests[at])
      single = requests.kinds[at][0] == "image"
      p["image"] = whole_picture({"image": [found] if single else list(found)}, None)
      if single:  # several stand side by side, where a box would be in the wrong place
        sides = np.array([*answer["image_size"]] * 2)
        p["pred_boxes"] = [{**o, "box": o["box"] / sides} for o in answer["detections"]]
        if rles := [o["mask"] for o in answer["detections"] if "mask" in o]:
          p["pred_mask"] = masks.decode(masks.merge(rles))
    shown.append(p)
  return report.write_report(path, title="Predictions", predictions=shown,
                             subtitle=f"{len(rows):,} of {len(requests):,} requests")
