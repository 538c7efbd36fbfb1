"""How long the texts of data are: the text_len of a config that names none.

Data of millions of lines are read in part: of JSONL the longest lines first, of others some that
lie evenly spread. What is read depends on the data alone, so that all processes of a run, and one
that resumes, find the same.
"""
import math
import re
from typing import NamedTuple

import numpy as np

from big_vlm.data import mixture, source, subset
from big_vlm.training.defaults import Default
from pp import text_layout
from pp.builder import get_preprocess_fn
from pp.tokenizer import get_tokenizer

UNKNOWN = 128  # tokens, as PaliGemma's first stage has
MOST = 512  # as its last stage has; longer texts are an exception that would slow down every step
ROOM = 1.1  # for texts that come later, and for answers
MULTIPLE = 8
LINES, BYTES = 20_000, 2**23  # to be read, which take some 3 s
CHARACTERS = 16 * MOST  # of a text; a longer one has more tokens than MOST


class Lengths(NamedTuple):
  """Of the lines with a prefix and a suffix among those that were read."""
  tokens: np.ndarray  # int [N]: what text_len must be
  where: list  # [N]: "my/train.jsonl, line 3"
  lines: int  # of the files, read or not


def read(data, tokenizer, image=True, pp=""):
  """The Lengths of [the `data` of a config], see data/source.py.

  tokenizer: as get_tokenizer takes it. image: False for a text-only model. pp: ops that write the
  prefix or the suffix.

  Raises ValueError or OSError where the data or the tokenizer cannot be opened.
  """
  tok, write = get_tokenizer(tokenizer), get_preprocess_fn(f"flatten|{pp}")
  tokens, where, total = [], [], 0
  for one in data:
    examples = source.get(**mixture.unchecked(**one))
    total += len(examples)
    for index in _chosen_of(examples):
      try:
        line = write(subset.fields(examples, index))
      except (ValueError, OSError):  # a check names it when the training starts
        continue
      texts = [line.get(key) for key in ("prefix", "suffix")]
      if all(isinstance(text, str) for text in texts):
        prefix, suffix = (text[:CHARACTERS] for text in texts)
        row = text_layout.prompt_ids(tok, prefix, image) + text_layout.suffix_ids(tok, suffix)
        tokens.append(len(row) - 1)  # the model predicts the last one, and does not read it
        where.append(subset.where(examples, index))
  return Lengths(np.array(tokens, int), where, total)


def _chosen_of(examples):
  """The indices of the examples to read."""
  if hasattr(examples, "line_sizes"):
    return _chosen(examples.line_sizes)
  return np.linspace(0, len(examples) - 1, min(len(examples), LINES)).astype(int).tolist()


def _chosen(sizes):
  """The lines to read, of their sizes in bytes [N]: half of them the longest, half evenly spread.
  Those of a megabyte or more hold other things than text."""
  lines = np.flatnonzero(sizes < BYTES // 8)
  longest = lines[np.argsort(-sizes[lines], kind="stable")]
  spread = lines[np.linspace(0, len(lines) - 1, min(len(lines), LINES // 2)).astype(int)]
  found = [part[np.cumsum(sizes[part]) <= BYTES // 2] for part in (longest[:LINES // 2], spread)]
  return np.unique(np.concatenate(found))


def default(data, tokenizer, image=True, pp=""):
  """The Default of text_len for [`data`]: what their longest text needs, and a tenth more; see
  read()."""
  try:
    found = read(data, tokenizer, image, pp)
  except (ValueError, OSError) as e:
    return Default(UNKNOWN, "no text is counted: " + re.split(r"[.:]\s", str(e))[0])
  if not len(found.tokens):
    return Default(UNKNOWN, "no line that was read has a prefix and a suffix")
  most = int(found.tokens.max())
  value = min(math.ceil(most * ROOM / MULTIPLE) * MULTIPLE, MOST)
  read_of = f"{len(found.tokens):,} lines" + (
      f" read of {found.lines:,}" if len(found.tokens) < found.lines else "")
  reason = f"{most:,} are in {found.where[int(found.tokens.argmax())]}, the most of {read_of}"
  if most > value:
    reason += (f"; {int((found.tokens > value).sum()):,} of them are cut, which text_len={most} "
               "would hold")
  return Default(value, reason)
