"""Requests of a user as the model reads them: prompts become padded ids, images become pixels.

Sizes are rounded up to buckets, so that few shapes exist and nothing compiles twice; padding is
masked and changes no result. B prompts, T prompt length, F images of a prompt, U unique images.
"""
import dataclasses
import hashlib
import os
import pathlib
import re

import numpy as np
from PIL import Image

from pp import ops_image, text_layout


@dataclasses.dataclass(frozen=True)
class ModelLimits:
  """The most that a model takes for one prompt with its images and its answer."""
  tokens: int  # in total
  image_tokens: int  # of one image
  image_size: int | None  # None: text only
  vocab_size: int


def model_limits(config):
  """The ModelLimits of a PaliGemmaConfig."""
  return ModelLimits(config.llm.max_positions, config.img.tokens if config.img else 0,
                     config.img and config.img.image_size, config.llm.vocab_size)


def bucket(n, most=None):
  """The least of 1, 2, 4, 8, ... that is n or more, but no more than `most`."""
  size = 1 << max(n - 1, 0).bit_length()
  return size if most is None else min(size, most)


def as_list(prompts):
  """[str or list of ids] of one prompt or several; ValueError for none, or for an image."""
  if isinstance(prompts, str) or (_is_ids(prompts) and len(prompts)):
    prompts = [prompts]
  if prompts is None or isinstance(prompts, (bytes, os.PathLike, Image.Image, dict)) or (
      np.ndim(prompts) > 2 if hasattr(prompts, "__array__") else not hasattr(prompts, "__iter__")):
    raise ValueError(f"The prompts are a {type(prompts).__name__}: give a string, a list of token "
                     "ids, or a list of such. Prompts come first, then the images.")
  prompts = list(prompts)
  if not prompts:
    raise ValueError("There are 0 prompts: give a string, a list of token ids, or a list of such.")
  return prompts


PROMPT_KEYS, IMAGE_KEYS, MASK_KEYS = ("prompts", "text", "token_ids"), ("images", "image"), (
    "padding_mask", "response_mask")


def from_dict(prompts, images):
  """(prompts, images) where the prompts may be KerasHub's dict {"images", "prompts" or "text"}, or
  what its preprocessor makes, {"images", "token_ids", "padding_mask"}.

  Raises ValueError for other keys, and for images beside those of the dict.
  """
  if not isinstance(prompts, dict):
    return prompts, images
  texts, pictures = ([k for k in keys if k in prompts] for keys in (PROMPT_KEYS, IMAGE_KEYS))
  odd = [k for k in prompts if k not in (*PROMPT_KEYS, *IMAGE_KEYS, *MASK_KEYS)]
  if odd or len(texts) != 1 or len(pictures) > 1 or (pictures and images is not None):
    raise ValueError(
        f"A request with the keys {', '.join(map(repr, prompts))} is not understood: it has one of "
        f"{', '.join(map(repr, PROMPT_KEYS))}, at most one of 'images' and 'image', and with "
        "token_ids 'padding_mask'. Ids of a transformers processor hold placeholders for the "
        "image: give its text and images themselves.")
  found = prompts[texts[0]]
  if texts == ["token_ids"]:
    rows = np.asarray(found)
    mask = np.asarray(prompts.get("padding_mask", np.ones_like(rows))).astype(bool)
    if rows.shape != mask.shape or rows.ndim not in (1, 2):
      raise ValueError(f"token_ids are [T] or [B, T] and padding_mask as they are, not "
                       f"{list(rows.shape)} and {list(mask.shape)}.")
    found = [row[real].tolist() for row, real in zip(np.atleast_2d(rows), np.atleast_2d(mask))]
  return found, prompts[pictures[0]] if pictures else images


def without_placeholders(prompt, images):
  """The prompt (str) without the "<image>" that transformers' prompts begin with, one for each of
  so many images; ValueError where there are more or fewer, or where it stands elsewhere."""
  placeholders, text = re.fullmatch(r"((?:<image>)*)(.*)", prompt, re.DOTALL).groups()
  count = placeholders.count("<image>")
  if "<image>" in text or count not in (0, images):
    raise ValueError(
        f"The prompt {prompt[:60]!r} has {prompt.count('<image>')} times '<image>', and there are "
        f"{images} images: leave it out, images always come before the text. Transformers' form, "
        "one at the start for each image, is understood too.")
  return text if count else prompt


def _is_ids(x):
  return (isinstance(x, np.ndarray) and x.ndim == 1 and x.dtype.kind in "iu") or (
      isinstance(x, (list, tuple)) and all(isinstance(i, (int, np.integer)) for i in x))


def ids(prompt, tokenizer, image=True):
  """A string as in training (bos, text, separator); a list of ids is returned unchanged.

  image: falsy for a text-only model. Raises ValueError for a string without a tokenizer, and for
  anything else.
  """
  if isinstance(prompt, str):
    if tokenizer is None:
      raise ValueError(f"The prompt {prompt[:40]!r} is a string, but the model came without a "
                       "tokenizer: give token ids, bos included, or load it from a source that "
                       "ships one.")
    return text_layout.prompt_ids(tokenizer, prompt, bool(image))
  prompt = prompt.tolist() if hasattr(prompt, "tolist") else prompt
  if not _is_ids(prompt):
    raise ValueError(f"A prompt is a string or a flat list of token ids, not {str(prompt)[:60]}.")
  return [int(i) for i in prompt]


def check_seen(images, image_size):
  """Raises ValueError where a model that sees is asked without an image; [None] is on purpose."""
  if images is None and image_size:
    raise ValueError("This model answers about images and there is none: give images, or "
                     "images=[None] * len(prompts) for text alone.")


def by_prompt(images, count):
  """[[image, ...]] of each of `count` prompts, from what generate() takes as images.

  One image is for all prompts; a list, an iterator or a batch array has one entry for each: an
  image, a list of several, or None. An iterator gives an iterator, which reads no further than it
  is read. Raises ValueError where the numbers differ.
  """
  if isinstance(images, np.ndarray) or hasattr(images, "__array__") and not isinstance(
      images, Image.Image):
    images = np.asarray(images)
    if images.ndim > 3:  # [B, H, W, 3] or [B, F, H, W, 3]
      images = [list(x) if x.ndim > 3 else x for x in images]
  if hasattr(images, "__next__"):
    return _drawn(images, count)
  if not isinstance(images, (list, tuple)):
    images = [images] * count
  if len(images) != count:
    raise ValueError(f"There are {count} prompts and {len(images)} images: give one image for all, "
                     "or a list with one for each. Several images of one prompt are a list in that "
                     "list: [[first, second]].")
  return [_group(x) for x in images]


def _group(entry):
  return list(entry) if isinstance(entry, (list, tuple)) else [] if entry is None else [entry]


def _drawn(images, count):
  for i in range(count):
    try:
      yield _group(next(images))
    except StopIteration:
      raise ValueError(f"There are {count} prompts and {i} images: give one for each.") from None


def pixels(image, size):
  """An image as [size, size, 3]: squashed, bilinear, antialiased, as the models were trained."""
  return ops_image.resize_image(read(image), (size, size), "bilinear", antialias=True)


def read(image):
  """uint8 or float32 [H, W, 3] of a path, encoded bytes, a PIL image, or an array [H, W, 3]: uint8
  0..255, or float in [-1, 1]. Pictures are turned upright as their EXIF says.

  Raises ValueError or OSError, which name what is wrong.
  """
  if isinstance(image, (str, os.PathLike)):
    if re.match(r"[a-z][a-z0-9+]*://", str(image)):
      raise ValueError(f"The image {image} is a URL, and images are not fetched: download it, and "
                       "give the path or the bytes.")
    try:
      image = pathlib.Path(image).read_bytes()
    except (OSError, ValueError) as e:  # ValueError: a null byte
      raise OSError(f"Cannot read the image {str(image)[:200]}: "
                    f"{getattr(e, 'strerror', None) or e}. Prompts come first, then the images; "
                    "an image is one file.") from e
  elif hasattr(image, "__array__") and not isinstance(image, Image.Image):
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
      raise ValueError(f"An image array is [H, W, 3], not {list(image.shape)}; a batch of them is "
                       "[B, H, W, 3], one for each prompt.")
  if isinstance(image, np.ndarray) and image.dtype.kind == "f":
    check_range(image)
    return np.broadcast_to(image[..., :3], (*image.shape[:2], 3)).astype(np.float32)
  return ops_image.decode_image(image, exif=True)


def check_range(image):
  """Raises ValueError unless a float image is in [-1, 1], and if it looks as if it were in [0, 1].

  A picture of which no pixel is below 0 would have nothing darker than middle grey, so it is taken
  for one in [0, 1] that was not converted. A blank one may have any value.
  """
  low, high = image.min(), image.max()
  if not (low >= -1.001 and high <= 1.001):  # NaN too
    raise ValueError(f"A float image has values in [-1, 1], not {low:.3g}..{high:.3g}: give "
                     "uint8 0..255, or divide by 127.5 and take 1 off.")
  if 0 <= low < high:
    raise ValueError(f"A float image has values in [-1, 1], and this one has {low:.3g}..{high:.3g},"
                     " nothing below 0. If it is in 0..1, give x * 2 - 1; if it is in [-1, 1] and "
                     "really so light, give uint8: (x * 127.5 + 127.5).round().astype('uint8').")


def size(image):
  """(height, width) of an image as pixels() takes it; ValueError or OSError if it is none."""
  return read(image).shape[:2]


@dataclasses.dataclass(frozen=True)
class RequestBatch:
  """Prompts and images as arrays; the first `count` rows are real, the others padding."""
  prompts: list  # [ids] of each real row
  images: list  # [number of images] of each
  new: int  # room for new tokens, a bucket
  batch: dict  # lay_out()'s keys [B, T], "image" [U, H, W, 3], "image_index" [B, F]
  digests: list  # bytes of each real row: a hash of the request, whatever stands beside it

  @property
  def count(self):
    return len(self.prompts)


def pack_requests(prompts, images, tokenizer, limits, new=0, rows=1, suffixes=None, first=0):
  """The RequestBatch of prompts [str or ids] and of images as by_prompt() takes them.

  With an image tower a prompt sees all of itself, text alone is causal.

  Args:
    new: the most tokens that are to follow, as far as the model's limit allows.
    rows: B and U become multiples of it.
    suffixes: [ids] of given answers, which then follow their prompts in the rows.
    first: the number of the first prompt, for errors.

  Raises ValueError for a request that does not fit the model.
  """
  suffixes = suffixes or [None] * len(prompts)
  groups = list(by_prompt(images, len(prompts)))
  prompt_ids = [ids(without_placeholders(p, len(group)) if isinstance(p, str) else p, tokenizer,
                    limits.image_size) for p, group in zip(prompts, groups)]
  if limits.image_size is None and any(groups):
    raise ValueError("This model has no image tower: leave the images out.")
  pixels_of = {}  # a number and the pixels of each unique image
  numbers = [[_number(image, limits.image_size, pixels_of) for image in group] for group in groups]
  unique = [x for _, x in pixels_of.values()]
  pad = tokenizer.pad_token if tokenizer else text_layout.PAD
  lengths = [_length(first + i, row, suffix, len(numbers[i]), limits, pad)
             for i, (row, suffix) in enumerate(zip(prompt_ids, suffixes))]
  most = bucket(max(map(len, numbers))) if unique else 0  # F
  room, longest = limits.tokens - most * limits.image_tokens, max(lengths)
  new = bucket(max(new, 16), max(room - longest, 1))
  length = bucket(max(longest, 16), max(room - new, longest))
  size = round_up(bucket(len(prompts)), rows)
  padding = [([], suffixes[0] and [])] * (size - len(prompts))
  laid_out = [text_layout.layout(prompt, suffix, length, image=bool(limits.image_size))
              for prompt, suffix in [*zip(prompt_ids, suffixes), *padding]]
  batch = {key: np.stack([row[key] for row in laid_out]) for key in laid_out[0]}
  if most:
    batch["image"] = _stack(unique, round_up(bucket(len(unique)), rows))
    batch["image_index"] = np.full((size, most), -1, np.int32)
    for i, row in enumerate(numbers):
      batch["image_index"][i, :len(row)] = row
  digests = [hashlib.blake2b(np.asarray(row, np.int64).tobytes() + b"".join(
      hashlib.blake2b(unique[n].tobytes()).digest() for n in numbers[i])).digest()
             for i, row in enumerate(prompt_ids)]
  return RequestBatch(prompt_ids, list(map(len, numbers)), new, batch, digests)


def round_up(n, multiple):
  return -(-n // multiple) * multiple


def _length(i, prompt, suffix, images, limits, pad):
  """Tokens of request i with so many images; raises ValueError if it does not fit the model."""
  row = [*prompt, *(suffix or ())]
  if not prompt and (suffix is not None or not images):
    raise ValueError(f"Prompt {i} is empty: give it a token" +
                     (" or an image." if suffix is None else ", which the suffix follows."))
  if pad in (*prompt[:1], *prompt[-1:]):
    raise ValueError(
        f"Prompt {i} has padding (id {pad}) at an end, which the model would read: give each "
        'prompt its own ids alone, or {"token_ids": ..., "padding_mask": ...}.')
  if row and not 0 <= min(row) <= max(row) < limits.vocab_size:
    raise ValueError(f"Prompt {i} has the token id {max(row, key=abs)}, which is not in the "
                     f"vocabulary of {limits.vocab_size}: is this the model's tokenizer?")
  if len(row) + images * limits.image_tokens >= limits.tokens:
    raise ValueError(
        f"Prompt {i} has {len(row)} tokens and {images} images of {limits.image_tokens} tokens, "
        f"but the model takes {limits.tokens} in all: shorten it.")
  return len(row)


def _number(image, size, pixels_of):
  """The number of an image among the unique ones; one that came before is not read again."""
  key = image if isinstance(image, (str, bytes)) else id(image)
  if key not in pixels_of:
    pixels_of[key] = len(pixels_of), pixels(image, size)
  return pixels_of[key][0]


def _stack(images, count):
  if any(x.dtype != np.uint8 for x in images):  # beside floats, uint8 becomes floats in [-1, 1]
    images = [x.astype(np.float32) / 127.5 - 1 if x.dtype == np.uint8 else x for x in images]
  return np.stack(images + [np.zeros_like(images[0])] * (count - len(images)))


def seed_of_each(seed, count):
  """[seed] of each of `count` prompts, from an int or one for each."""
  given = list(seed) if isinstance(seed, (list, tuple, np.ndarray)) else [seed] * count
  if len(given) != count:
    raise ValueError(f"There are {count} prompts and {len(given)} seeds: give one seed, or "
                     "one for each.")
  return given


def seeds(digests, given, samples):
  """uint32 [len(digests) * samples]: a function of (seed, request, number of the sample) alone.

  given: a seed for each request.
  """
  out = [hashlib.blake2b(digest + f"{int(s)}:{n}".encode(), digest_size=4).digest()
         for digest, s in zip(digests, given) for n in range(samples)]
  return np.frombuffer(b"".join(out), np.uint32)
