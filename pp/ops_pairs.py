"""The op on pairs of an image and a text, as the two towers of SigLIP read them."""
import numpy as np

from pp.canonical import SPELLINGS
from pp.names import pick
from pp.ops_general import is_private
from pp.ops_text import fit_length
from pp.registry import OPS, rng_of
from pp.text_utils import to_text
from pp.tokenizer import get_tokenizer

SEVERAL = ("refuse", "draw", "first")


@OPS.register("pair_layout", random=lambda a: a["several"] == "draw",
              takes={"tokenizer": "tokenizer", "length": "text_len", "pad_token": "pad_token"})
def pair_layout(tokenizer, length, pad_token, key="text", several="refuse", spelling="ascii",
                keep=()):
  """The string at `key` -> "text", int32 [length]: pieces, eos, padding, which the tower reads too.

  A longer text is cut before its eos, and "_cut" says so. Of the example stay "image", the row, the
  keys in `keep`, and the loader's own.

  Args:
    tokenizer: as pp.tokenizer.get_tokenizer takes it.
    length: of the text tower.
    pad_token: of the text tower: SigLIP's is the eos again, SigLIP 2's is 0.
    several: what becomes of a list of texts: "draw" takes one of them at each visit, "first" the
      first, and "refuse" none.
    spelling: a row of pp.canonical.SPELLINGS: "ascii" lower-cases A to Z, as SigLIP was trained.
    keep: more keys of the example to keep.
  """
  tok, kept = get_tokenizer(tokenizer), {"image", *keep}
  spell = pick(SPELLINGS, spelling, "spelling of texts")
  pick(dict.fromkeys(SEVERAL), several, "several")

  def one_of(texts, example):
    if not len(texts):
      raise ValueError(f"{key!r} is an empty list: two towers learn from pairs of an image and a "
                       "text")
    if several == "refuse":
      raise ValueError(f"{key!r} is a list of {len(texts)} texts: several='draw' takes one of them "
                       "at each visit, several='first' the first")
    return texts[int(rng_of(example, "pair_layout").integers(len(texts)))
                 if several == "draw" and len(texts) > 1 else 0]

  def op(example):
    if "image" not in example:
      raise ValueError("the example has no image: two towers learn from pairs of an image and a "
                       "text")
    if example.get(key) is None:
      raise ValueError(f"the example has no {key!r}: two towers learn from pairs of an image and a "
                       f"text; it has {', '.join(sorted(filled(example)))}")
    text = example[key]
    if isinstance(text, (list, tuple)) or np.ndim(text):
      text = one_of(text, example)
    text = spell(to_text(text))
    if not text.strip():
      raise ValueError(f"the text {key!r} is empty")
    ids = np.array(tok.to_int(text, eos=True), np.int32)
    rest = {k: v for k, v in example.items() if k in kept or is_private(k)}
    return rest | {"text": fit_length(ids, length, pad_token, sticky_end=True),
                   "_cut": len(ids) > length}
  return op


def filled(example):
  """The keys of an example that have a value, without those of the loader."""
  return [k for k, v in example.items() if v is not None and not is_private(k)]
