"""Probes of an export: requests with the answers that the model gives, beside its weights.

probes.jsonl has one JSON object a line: "id"; "prompt"; "image", a data URL of a PNG (not of a
text-only model); "prompt_ids", bos and separator included; "tokens", the likeliest one at each
step, with their "logprobs" and "text"; "max_new_tokens"; "dtype" of the computation; and
"tolerance" of a log-probability. tools.conform asks another framework the same.

The numbers are those of the weights as they are written, computed in float32. Every other image has
the model's own size. The others need a resize, which libraries round differently, by 1/255: the
tolerance is twice what that moves a log-probability. Each is the one of several pictures by which
another resize, bicubic, is told apart best.
"""
import base64
import dataclasses
import io
import json
import re

import numpy as np
from PIL import Image

from big_vlm import building, image_input, scoring, sharding
from big_vlm.decode.session import GenerationConfig, GenerationSession
from pp import text_layout
from pp.decode import decode_image
from pp.foreign import parse_json, read_bytes
from pp.tokenizer import get_tokenizer

FILE, DTYPE = "probes.jsonl", "float32"
COUNT, MOST = 6, 1000
MOST_PARAMETERS = 500_000_000  # of a model that gets probes unasked: 2 GB, and seconds on a CPU
NEW_TOKENS = 16
TOLERANCE = 2e-3  # float32 on two frameworks: 1e-5 for a small model, up to 1e-3 over 28 B
MAX_BYTES = 256 << 20
MOST_IDS = 10_000_000
LONGEST = 8192  # characters of a prompt, tokens of it and of an answer
MOST_TOLERANCE = 10.  # of a log-probability: beyond it anything would agree
PROMPTS = ("caption en", "ocr", "answer en what is this ?", "detect cat ; dog")
TEXTS = ("The capital of France is", "One, two, three,", "Once upon a time", "def add(a, b):")
URL = "data:image/png;base64,"
CANDIDATES = 4  # pictures for each probe that needs a resize
# Sides of the images as parts of the model's; every other one is the model's.
SHAPES = ((1, 1), (1.5, .8), (1, 1), (2.1, 3), (1, 1), (3, 1.2))


@dataclasses.dataclass(frozen=True)
class Probe:
  id: int
  prompt: str
  image: bytes | None  # a PNG
  prompt_ids: list
  tokens: list
  logprobs: list
  text: str
  max_new_tokens: int
  dtype: str
  tolerance: float

  def to_json(self):
    row = dataclasses.asdict(self)
    image = row.pop("image")
    return row if image is None else row | {"image": URL + base64.b64encode(image).decode()}


def why_not(config, tokenizer):
  """Why a model has no probes, or None."""
  if not config.llm:
    return "it has no decoder, so it answers no prompts"
  return None if tokenizer else "it comes without a tokenizer, so it reads no prompts"


def make(checkpoint, count=COUNT, prompts=()):
  """[Probe] of a checkpoints.Checkpoint; prompts: [str], such as those of its training.

  Raises ValueError for a model that has none.
  """
  config, tokenizer = checkpoint.config, checkpoint.tokenizer
  if reason := why_not(config, tokenizer):
    raise ValueError(f"{checkpoint.path} can have no probes: {reason}. Leave them out.")
  mesh, tok = sharding.make_mesh(), get_tokenizer(tokenizer)
  model, params = building.load(dataclasses.replace(checkpoint, stored=None), config, DTYPE, mesh)
  side = config.img and config.img.image_size
  asked = tuple(filled(p) for p in prompts) or (PROMPTS if side else TEXTS)
  session = GenerationSession(model, params, tok, GenerationConfig(max_new_tokens=NEW_TOKENS))

  def scored(prompts, images, answers):
    return scoring.suffix_logprobs(model, params, prompts, [a.tokens for a in answers],
                                   [[x] for x in images], tok, mesh)

  def of(i):
    """The Probe with the number i."""
    prompt, number = asked[i % len(asked)], range(i, i + 1)
    if side and i % 2:
      number = range(i, i + CANDIDATES * 1000, 1000)
    images = [picture(side, n) if side else None for n in number]
    prompts = [prompt] * len(images)
    answers = session.answers(session.batches(prompts, images, mesh))
    best, moved = 0, [0.]
    if len(images) > 1:
      moved, bicubic = ([_apart(a, b) for a, b in zip(answers, scored(prompts, [
          image_input.pixels(x, side, resize) for x in images], answers))]
                        for resize in ("pil_bilinear", "pil_bicubic"))
      best = max(range(len(images)), key=lambda j: bicubic[j] / max(moved[j], TOLERANCE))
    a = answers[best]
    return Probe(i, prompt, images[best], text_layout.prompt_ids(tok, prompt, bool(side)),
                 list(a.tokens), [round(x, 6) for x in a.logprobs], a.text, NEW_TOKENS, DTYPE,
                 round(max(TOLERANCE, 2 * moved[best]), 6))
  return [of(i) for i in range(count)]


def _apart(answer, logprobs):
  return float(np.max(np.abs(np.subtract(answer.logprobs, logprobs))))


def filled(prompt):
  """A prompt of a training, "answer {lang} {question}", without its fields."""
  prompt = re.sub(r"\{lang(uage)?\}", "en", prompt)
  return re.sub(r"\{[^{}]*\}", "thing", prompt)


def picture(side, number):
  """The bytes of a PNG of colourful stripes, whose edges tell ways to resize apart: up to 16 times
  as far as rounding does."""
  rng = np.random.default_rng(number)
  height, width = (max(round(side * part), 1) for part in SHAPES[number % len(SHAPES)])
  y, x = np.mgrid[:height, :width]
  out = np.zeros((height, width, 3), np.uint8)
  for _ in range(10):
    a, b = rng.normal(0, 1, 2) * np.pi / rng.uniform(2, 12) * 32 / min(side, 64)
    stripe = np.sin(a * x + b * y + rng.uniform(0, 6)) > 0
    y0, x0 = rng.uniform(-.2, .8, 2) * [height, width]
    h, w = rng.uniform(.2, .8, 2) * [height, width]
    box = (y >= y0) & (y < y0 + h) & (x >= x0) & (x < x0 + w)
    colours = rng.integers(0, 256, (2, 3)).astype(np.uint8)
    out[box] = np.where(stripe[..., None], *colours)[box]
  data = io.BytesIO()
  Image.fromarray(out).save(data, "PNG")
  return data.getvalue()


def to_text(probes):
  """The text of the file."""
  return "".join(json.dumps(p.to_json(), ensure_ascii=False) + "\n" for p in probes)


def read(folder):
  """[Probe] of an export. Raises FileNotFoundError, and ValueError that names the line."""
  path = folder / FILE
  if not path.is_file():
    raise FileNotFoundError(
        f"{folder} has no {FILE}: it was exported without probes, or by another tool. Export it "
        f"again: python -m tools.convert {folder} NEW --format hf --probes {COUNT}")
  found = []
  for number, line in enumerate(read_bytes(path, MAX_BYTES).split(b"\n"), 1):
    if line.strip():
      found.append(_probe(parse_json(line, where := f"{path}, line {number}"), where))
  if not found:
    raise ValueError(f"{path} is empty. Export the model again.")
  if len(found) > MOST:
    raise ValueError(f"{path} has {len(found):,} probes; at most {MOST:,} are asked.")
  return found


def _probe(row, where):
  kinds = {"id": int, "prompt": str, "text": str, "max_new_tokens": int, "dtype": str,
           "tolerance": (int, float), "tokens": list, "logprobs": list, "prompt_ids": list}
  ids = lambda x: len(x) <= LONGEST and all(type(i) is int and 0 <= i < MOST_IDS for i in x)
  number = lambda x: type(x) in (int, float) and abs(x) < 1e9  # not NaN
  if not (isinstance(row, dict) and row.keys() - {"image"} == kinds.keys()
          and all(isinstance(row[name], kind) and not isinstance(row[name], bool)
                  for name, kind in kinds.items())
          and ids(row["prompt_ids"]) and row["tokens"] and ids(row["tokens"])
          and len(row["logprobs"]) == len(row["tokens"]) and all(map(number, row["logprobs"]))
          and len(row["tokens"]) <= row["max_new_tokens"] <= LONGEST >= len(row["prompt"])
          and 0 < row["tolerance"] <= MOST_TOLERANCE and row["dtype"] in building.DTYPES
          and isinstance(image := row.get("image", URL), str) and image.startswith(URL)):
    raise ValueError(f"{where} is not a probe as an export writes them: {', '.join(kinds)}, with a "
                     "log-probability for each token, and for a model that sees an image as a data "
                     "URL. Export the model again.")
  try:
    image = base64.b64decode(row["image"][len(URL):], validate=True) if "image" in row else None
    if image is not None:
      decode_image(image)
  except ValueError as e:
    raise ValueError(f"{where}: the image is not one in base64 ({e}). Export the model again."
                     ) from None
  return Probe(**row | {"image": image})
