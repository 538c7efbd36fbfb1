"""The layout of a text row: the only place where prompts and answers become ids and masks.

                 prompt_ids                  suffix_ids
  text         bos answer en how many ? \\n   three eos  pad pad
  mask_ar       0    0    0   0   0  0  0      1    1    1   1   0: sees all of its block, 1: causal
  mask_loss     0    0    0   0   0  0  0      1    1    0   0   1: training predicts this token
  mask_input    1    1    1   1   1  1  1      -    -    0   0   1: a token of the prompt

Rows of training have the suffix and mask_loss; prompts to be answered stand alone, with mask_input.
Prefix, separator and suffix are tokenized apart, so that no piece crosses a border. A text-only
model has no separator, and its mask_ar is 1 everywhere. See big_vlm/batch.py for the whole batch.
"""
import re

import numpy as np

from pp.locations import BINS
from pp.tokenizer import check_single_ids

SEPARATOR, PLACEHOLDER = "\n", "<image>"
PAD = 0


def prompt_text(prefix, image=True):
  """The prefix as the model reads it, with its separator: a newline that it ends in, as KerasHub's
  prompts do, is the separator and not a second one, and of each "<image>" that it begins with, as
  transformers' prompts do, the image itself takes the place. A text-only model (image=False) has
  neither."""
  if not image:
    return prefix
  return re.sub(f"^({PLACEHOLDER})+", "", prefix).removesuffix(SEPARATOR) + SEPARATOR


def prompt_ids(tokenizer, prefix, image=True):
  """[int]: bos, the prefix (str), and the separator unless the model is text-only (image=False)."""
  if image:
    prefix = prompt_text(prefix).removesuffix(SEPARATOR)
  return tokenizer.to_int(prefix, bos=True) + tokenizer.to_int(SEPARATOR) * image


def suffix_ids(tokenizer, suffix):
  """[int]: the suffix (str) and eos."""
  return tokenizer.to_int(suffix, eos=True)


def layout(prompt, suffix=None, length=None, image=True):
  """Ids [int] -> int32 arrays [length] "text", "mask_ar", and "mask_loss" or "mask_input".

  Args:
    prompt: from prompt_ids().
    suffix: from suffix_ids(); None lays out the prompt alone.
    length: longer rows are cut on the right, shorter ones padded; None: as long as the ids.
    image: False for a text-only model.
  """
  prefix_len, total = len(prompt), len(prompt) + len(suffix or ())
  at = np.arange(length or total)
  text = np.full_like(at, PAD, np.int32)
  text[:total] = [*prompt, *(suffix or ())][:len(at)]
  in_prompt = at < prefix_len
  mask = ("mask_input", in_prompt) if suffix is None else ("mask_loss", ~in_prompt & (at < total))
  causal = ~in_prompt if image else np.ones_like(in_prompt)
  return {"text": text, "mask_ar": causal.astype(np.int32), mask[0]: mask[1].astype(np.int32)}


def label_ids(tokenizer, label):
  """(id of a label behind a location, id of <loc0000>); ValueError where it is not one token."""
  check_single_ids(tokenizer, ("<loc0000>", "<loc1023>"))
  first, *ids = tokenizer.to_int(f"<loc0000> {label}")
  if len(ids) != 1:
    raise ValueError(f"text_layout: noise={label!r} is {len(ids)} tokens behind a location, and an "
                     "eval can forbid one only: give a word that is one token of this tokenizer.")
  return ids[0], first


def skip_locations(row, label, first):
  """Sets "mask_loss" of a row to 0, in place, at each four locations before the id `label`.

  first: the id of <loc0000>, which the others follow.
  """
  text, mask_loss = row["text"], row["mask_loss"]
  is_location = (text >= first) & (text < first + BINS)
  for end in np.flatnonzero((text == label) & (mask_loss == 1)):
    if is_location[max(end - 4, 0):end].sum() == 4:
      mask_loss[end - 4:end] = 0
