"""Answers -> boxes, labels and masks in pixels, each with the probability that the model gave it.

  <loc0102><loc0204><loc0511><loc1023> cat ; <loc0000>...      an object ends at the ";" or the end

  box_score    product of the probabilities of the four <loc> tokens
  label_score  product of those of the label's tokens and the space before it; None without a label
  score        product of the two, without the sixteen codes of a mask: many of them spell nearly
               the same mask, so their probabilities say little about the object

pp/locations.py parses the objects; a malformed one is skipped together with its tokens.
"""
import dataclasses
import math
from typing import NamedTuple

import numpy as np

from big_vlm.families import vqvae as vqvae_lib
from pp import locations, mask_codes

MASKS_AT_ONCE = 8  # the VQ-VAE is compiled for one batch size, which few answers exceed


@dataclasses.dataclass(frozen=True)
class Detection:
  """One object of an answer. The scores are None where the answer has no log-probabilities."""
  box: tuple  # four floats in pixels: ymin, xmin, ymax, xmax
  label: str  # "" if there is none
  mask: np.ndarray | None = dataclasses.field(compare=False)  # bool [H, W]
  box_score: float | None
  label_score: float | None
  score: float | None


class ParsedObject(NamedTuple):
  """An object with the log-probabilities of its tokens, summed."""
  object: locations.Object
  box: float | None  # None: the tokenizer has no tokens for locations
  label: float | None  # None: no label
  all: float  # with mask codes, spaces and the eos, but for the separators


def from_generation(generation, tokenizer, size, vqvae=None):
  """[Detection] of a Generation, in the order of its answer.

  generation: its tokens are read; its text where there is no tokenizer or no log-probability.
  size: (height, width) in pixels of the image that the boxes are for.
  vqvae: parameters from families.vqvae.load, which turn mask codes into masks; None: no masks.
  """
  if tokenizer is not None and generation.logprobs:
    found = list(read(generation.tokens, generation.logprobs, tokenizer))
  else:
    found = [ParsedObject(o, None, None, 0.) for o in locations.parse_objects(generation.text)]
  masks = vqvae and decode_masks(vqvae, [r.object.seg for r in found if r.object.seg])
  result = []
  for r in found:
    box = tuple(float(c * side) for c, side in zip(r.object.box, (*size, *size)))
    mask = None
    if masks and r.object.seg:
      mask = mask_codes.paste(next(masks), r.object.box, size)
    box_score, label_score, score = None, None, None
    if r.box is not None:
      box_score, label_score = math.exp(r.box), None if r.label is None else math.exp(r.label)
      score = math.exp(r.box + (r.label or 0.))
    result.append(Detection(box, r.object.label, mask, box_score, label_score, score))
  return result


def read(tokens, logprobs, tokenizer):
  """Yields a ParsedObject for each well-formed object of an answer's tokens up to the first eos.

  A token that holds ";" and more, such as "cat;", counts with the object before it.
  """
  parts = [_Part()]
  for token, logprob in zip(tokens, logprobs):
    spelled = tokenizer.to_str([token])
    head, *others = spelled.split(";")
    if not others:
      parts[-1].ids.append(token)
    else:
      parts[-1].after = head
    if not others or head.strip():
      parts[-1].spelled.append(head)
      parts[-1].logprobs.append(logprob)
    parts += [_Part(before=text) for text in others]
    if token == tokenizer.eos_token:
      break
  for part in parts:
    text = part.before + tokenizer.to_str(part.ids) + part.after
    for found in locations.parse_objects(text):
      yield ParsedObject(found, *_sums(part, found.label))


@dataclasses.dataclass
class _Part:
  """The tokens between two separators, and the parts of it that their neighbours hold."""
  before: str = ""
  ids: list = dataclasses.field(default_factory=list)
  after: str = ""
  spelled: list = dataclasses.field(default_factory=list)  # each token, what is in this part
  logprobs: list = dataclasses.field(default_factory=list)


def _sums(part, label):
  codes = [n for n, s in enumerate(part.spelled) if locations.PIECE.fullmatch(s.strip())]
  loc = [n for n in codes if "loc" in part.spelled[n]]
  if len(loc) != 4:
    return None, None, sum(part.logprobs)
  sums = lambda indices: sum(part.logprobs[n] for n in indices)
  begin = codes[-1] + 1
  end = max((n + 1 for n, s in enumerate(part.spelled) if s.strip()), default=begin)
  return sums(loc), sums(range(begin, end)) if label else None, sum(part.logprobs)


def decode_masks(params, codes):
  """Yields a mask float32 [64, 64] for each row of codes [N, 16], above 0 where the object is."""
  for begin in range(0, len(codes), MASKS_AT_ONCE):
    some = codes[begin:begin + MASKS_AT_ONCE]
    batch = np.zeros((MASKS_AT_ONCE, vqvae_lib.GRID**2), np.int32)
    batch[:len(some)] = some
    yield from np.asarray(vqvae_lib.decode(params, batch))[:len(some), :, :, 0]
