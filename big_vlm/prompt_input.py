"""Prompts as users write them, here and in other frameworks, as token ids."""
import os

import numpy as np
from PIL import Image

from pp import text_layout

PROMPT_KEYS, IMAGE_KEYS, MASK_KEYS = ("prompts", "text", "token_ids"), ("images", "image"), (
    "padding_mask", "response_mask")


def embeddings_hint(given):
  """What to do with embeddings in the place of ids, transformers' inputs_embeds; "" for others."""
  is_embeddings = getattr(given, "ndim", 0) > 2 and np.asarray(given).dtype.kind == "f"
  return (" Embeddings in the place of ids are for score_tokens: its layer_intercept_fn(x, i) "
          "returns them for i == -1." * is_embeddings)


def as_list(prompts, what="prompt"):
  """[str or list of ids] of one prompt or several; ValueError for none, or for an image."""
  several = f"{what}es" if what.endswith("x") else f"{what}s"
  if isinstance(prompts, str) or (_is_ids(prompts) and len(prompts)):
    prompts = [prompts]
  if prompts is None or isinstance(prompts, (bytes, os.PathLike, Image.Image, dict)) or (
      np.ndim(prompts) > 2 if hasattr(prompts, "__array__") else not hasattr(prompts, "__iter__")):
    order = " Prompts come first, then the images." if what == "prompt" else ""
    raise ValueError(f"The {several} are a {type(prompts).__name__}: give a string, a list of "
                     f"token ids, or a list of such.{order}{embeddings_hint(prompts)}")
  prompts = list(prompts)
  if not prompts:
    raise ValueError(f"There are 0 {several}: give a string, a list of token ids, or a list of "
                     "such.")
  return prompts


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
        "image: give its text and images themselves."
        + embeddings_hint(prompts.get("inputs_embeds")))
  if np.any(prompts.get("response_mask", 0)):
    raise ValueError("A request's response_mask marks tokens of an answer, and prompts have none: "
                     "score(prompts, suffixes) reads given answers.")
  found = prompts[texts[0]]
  if texts == ["token_ids"] and "padding_mask" in prompts:
    rows, mask = np.asarray(found), np.asarray(prompts["padding_mask"]).astype(bool)
    if rows.shape != mask.shape or rows.ndim not in (1, 2):
      raise ValueError(f"token_ids are [T] or [B, T] and padding_mask as they are, not "
                       f"{list(rows.shape)} and {list(mask.shape)}.")
    found = [row[real].tolist() for row, real in zip(np.atleast_2d(rows), np.atleast_2d(mask))]
  return found, prompts[pictures[0]] if pictures else images


def ids(prompt, tokenizer, images=0, image=True):
  """A string as in training (bos, text, separator); a list of ids is returned unchanged.

  images: how many the prompt has; its placeholders are none or so many. image: False for a
  text-only model. Raises ValueError for a string without a tokenizer, and for anything else.
  """
  if isinstance(prompt, str):
    if tokenizer is None:
      raise ValueError(f"The prompt {prompt[:40]!r} is a string, but the model came without a "
                       "tokenizer: give token ids, bos included, or load it from a source that "
                       "ships one.")
    mark = text_layout.PLACEHOLDER
    count = prompt.count(mark)
    if image and (count not in (0, images) or mark in text_layout.prompt_text(prompt)):
      raise ValueError(
          f"The prompt {prompt[:60]!r} has {count} times {mark!r}, and there are {images} images: "
          "leave it out, images always come before the text. Transformers' form, one at the start "
          "for each image, is understood too.")
    return text_layout.prompt_ids(tokenizer, prompt, image)
  return check_ids(prompt)


def check_ids(ids, what="prompt"):
  """[int] of token ids; ValueError for anything else."""
  ids = ids.tolist() if hasattr(ids, "tolist") else ids
  if not _is_ids(ids):
    raise ValueError(f"A {what} is a string or a flat list of token ids, not {str(ids)[:60]}.")
  return [int(i) for i in ids]


def _is_ids(x):
  return (isinstance(x, np.ndarray) and x.ndim == 1 and x.dtype.kind in "iu") or (
      isinstance(x, (list, tuple)) and all(isinstance(i, (int, np.integer)) for i in x))
