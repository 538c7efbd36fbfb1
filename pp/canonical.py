"""How a text is spelled before SigLIP's tokenizers read it: a row of SPELLINGS.

SigLIP and SigLIP 2 were trained on texts whose A to Z are lower-cased, and their captions are
embedded so. Zero-shot prompts are canonical too, without punctuation.
"""
import re
import string

from pp.ops_text import ASCII_LOWER

PUNCTUATION = str.maketrans("", "", string.punctuation.replace("_", ""))


def canonical(text, keep=""):
  """Lower-case, without punctuation, "_" and runs of white space one blank each, as big_vision's
  prompt_engineering.canonicalize_text. keep: a string that stays where it occurs whole: "{}"."""
  parts = text.split(keep) if keep else [text]
  text = keep.join(part.replace("_", " ").translate(PUNCTUATION) for part in parts)
  return re.sub(r"\s+", " ", text.lower()).strip()


SPELLINGS = {
    "ascii": lambda text: text.translate(ASCII_LOWER),  # A to Z lower-cased, as in training
    "unicode": str.lower,  # all letters: transformers' Siglip2Tokenizer
    "canonical": canonical,
    "siglip_tokenizer": lambda text: canonical(text.replace("_", "")),  # transformers' SigLIP 1
    "as_is": lambda text: text,
}
