"""Requests of a user as the model reads them: padded ids, and the pixels of each unique image.

Sizes are rounded up to buckets, so that few shapes exist and nothing compiles twice; padding is
masked and changes no result. B prompts, T prompt length, F images of a prompt, U unique images.
"""
import dataclasses
import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import prompt_input
from big_vlm.image_input import by_prompt, pixels
from pp import text_layout


@dataclasses.dataclass(frozen=True)
class ModelLimits:
  """The most that a model takes for one prompt with its images and its answer."""
  tokens: int  # in total
  image_tokens: int  # of one image
  image_size: int | None  # None: text only
  vocab_size: int


def model_limits(config):
  """The ModelLimits of a PaliGemmaConfig; ValueError for one without a decoder, as SigLIP's."""
  if config.txt:
    raise ValueError("This model is SigLIP, without a decoder: it gives no answer, it compares "
                     "images with texts. vlm.embed(images=..., texts=...) has their vectors, "
                     "vlm.similarity and vlm.classify compare them.")
  if config.llm is None:
    raise ValueError("This model is a vision tower alone, without a decoder: it reads no text and "
                     "gives no answer. vlm.image_features(images) has what it sees.")
  return ModelLimits(config.llm.max_positions, config.img.tokens if config.img else 0,
                     config.img and config.img.image_size, config.llm.vocab_size)


@dataclasses.dataclass(frozen=True)
class RequestBatch:
  """Prompts and images as arrays; the first `count` rows are real, the others padding."""
  prompts: list  # [ids] of each real row
  read: list  # [ids] of each: the prompt and the given suffix
  images: list  # [number of images] of each
  new: int  # room for new tokens, a bucket
  batch: dict  # text_layout.layout()'s keys [B, T], "image" [U, H, W, 3], "image_index" [B, F]
  digests: list  # bytes of each real row: a hash of the request, whatever stands beside it
  image_digests: list  # bytes of each unique image: a hash of its pixels

  @property
  def count(self):
    return len(self.prompts)


def pack_requests(prompts, images, tokenizer, limits, new=0, rows=1, suffixes=None, first=0):
  """The RequestBatch of prompts [str or ids] and of images as by_prompt() takes them.

  With an image tower a prompt sees all of itself, text alone is causal.

  Args:
    new: the most tokens that are to follow, as far as the model's limit allows.
    rows: B and U become multiples of it.
    suffixes: [ids] of given answers, or starts of such, which follow their prompts in the rows.
    first: the number of the first prompt, for errors.

  Raises ValueError for a request that does not fit the model.
  """
  suffixes = suffixes or [None] * len(prompts)
  groups = list(by_prompt(images, len(prompts)))
  prompt_ids = [prompt_input.ids(p, tokenizer, len(group), bool(limits.image_size))
                for p, group in zip(prompts, groups)]
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
  read = [[*p, *(s or ())] for p, s in zip(prompt_ids, suffixes)]
  if most:
    unique_rows = round_up(bucket(len(unique)), rows)
    batch["image"] = stack_images(
        unique + [np.zeros_like(unique[0])] * (unique_rows - len(unique)))
    batch["image_index"] = np.full((size, most), -1, np.int32)
    for i, row in enumerate(numbers):
      batch["image_index"][i, :len(row)] = row
  of_image = [hashlib.blake2b(x.tobytes()).digest() for x in unique]
  digests = [hashlib.blake2b(np.asarray(row, np.int64).tobytes() + b"".join(
      of_image[n] for n in numbers[i])).digest() for i, row in enumerate(prompt_ids)]
  return RequestBatch(prompt_ids, read, list(map(len, numbers)), new, batch, digests, of_image)


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
    odd = next(t for t in row if not 0 <= t < limits.vocab_size)
    raise ValueError(f"Prompt {i} has the token id {odd}, which is not in the vocabulary of "
                     f"{limits.vocab_size}: is this the model's tokenizer?")
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


def stack_images(images):
  """[B, H, W, 3] of images, uint8 or float in [-1, 1]; beside floats, uint8 becomes float."""
  if any(x.dtype != np.uint8 for x in images):
    images = [x.astype(np.float32) / 127.5 - 1 if x.dtype == np.uint8 else x for x in images]
  return np.stack(images)


def token_ids(ids, what, vocab_size):
  """int32 of token ids; ValueError for others, such as -100, which torch's losses leave out."""
  if isinstance(ids, jax.core.Tracer):
    return ids
  ids = np.asarray(ids)
  if ids.dtype.kind not in "iu":
    raise ValueError(f"{what} are token ids, whole numbers, not {ids.dtype}."
                     + prompt_input.embeddings_hint(ids))
  if ids.size and not 0 <= ids.min() <= ids.max() < vocab_size:
    odd = int(ids.min() if ids.min() < 0 else ids.max())
    raise ValueError(f"{what} have {odd}, which is not in the vocabulary of {vocab_size}." + (
        " To leave positions out give any token and multiply the losses by 0." * (odd < 0)))
  return jnp.asarray(ids, jnp.int32)


def bucket(n, most=None):
  """The least of 1, 2, 4, 8, ... that is n or more, but no more than `most`."""
  size = 1 << max(n - 1, 0).bit_length()
  return size if most is None else min(size, most)


def round_up(n, multiple):
  return -(-n // multiple) * multiple


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
