"""Tokenizers of other stacks, run by the `tokenizers` package: hf and bpe.

  hf(file="F/tokenizer.json")                     any fast tokenizer of Hugging Face, e.g. Gemma's
  bpe(vocab="F/vocab.json", merges="F/merges.txt")  OPT's byte-level BPE

Both keep the rules of pp/tokenizer.py: bos and eos come only if asked for, and control pieces
written out in a text ("<eos>", "<image>") are ordinary characters. <loc> and <seg> pieces and the
turn marks of Gemma's chat models are matched, as the SentencePiece model of the same release does,
however the file flags them.
"""

import collections
import contextlib
import json
import math
import re

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from pp.foreign import parse_json, reading
from pp.printable import printable
from pp.registry import TOKENIZERS
from pp.token_bytes import of_byte_level, of_sentencepiece
from pp.tokenizer import Tokenizer, added_pieces, local_or_remote, read_file

MATCHED = re.compile(r"<loc\d{4}>|<seg\d{3}>|<(start|end)_of_turn>")  # in text, whatever their flag
CONTROL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # of a vocab.json that flags nothing
USUAL = {  # where no file beside a tokenizer.json names them: Gemma's, OPT's, GPT-2's
    "pad_token": ("<pad>", "<|endoftext|>"),
    "bos_token": ("<bos>", "</s>", "<|endoftext|>"),
    "eos_token": ("<eos>", "</s>", "<|endoftext|>"),
}
# Control in every file, whatever its flags: written in a text they are ordinary characters.
ALWAYS_CONTROL = frozenset(CONTROL).union(*USUAL.values())
EVERY_BYTE = [chr(i) for i in (  # one character at least for every byte that UTF-8 has
    *range(0x21, 0x7f), *range(0xa0, 0x800), *range(0x800, 0xd800, 0x1000),
    *range(0x10000, 0x110000, 0x40000))]
MOST_IDS = 10_000_000
MOST_GROWTH = 100  # of a text in a normalizer or decoder; Gemma's and OPT's let it be
MARK = "\0 "  # ahead of pieces that no text matches: normalized text has "▁" for a space
COMPANIONS = ("tokenizer_config.json", "special_tokens_map.json")  # may lie beside tokenizer.json


class _Fast(Tokenizer):
  """A tokenizers.Tokenizer; `control` are the ids that to_str leaves out."""

  def __init__(self, path, fast, names, control):
    self.path = path
    self._fast = fast
    vocab = _vocabulary(fast)
    with reading(path):
      _check_vocabulary(fast, vocab, path)
    self.vocab_size = max(vocab.values()) + 1
    ids = {what: vocab.get(name, -1) for what, name in names.items()}
    self.pad_token, self.bos_token = ids["pad_token"], ids["bos_token"]
    self.eos_token = ids["eos_token"]
    self._control = frozenset(control) | frozenset(ids.values())

  def __setstate__(self, state):
    self.__dict__.update(state)
    self._fast.encode_special_tokens = True  # the one setting that does not travel in a pickle

  def _encode(self, text):
    with _panics(self.path):
      return self._fast.encode(text, add_special_tokens=False).ids

  def _decode(self, ids):
    with _panics(self.path):
      return self._fast.decode([i for i in ids if i not in self._control])

  def _spelling(self, i):
    piece = self._fast.id_to_token(i) or ""  # "": an id that the vocabulary skips
    return piece.removeprefix(MARK)

  def token_bytes(self):
    added = {i: token.content for i, token in self._fast.get_added_tokens_decoder().items()}
    read = of_byte_level if '"ByteLevel"' in json.dumps(
        json.loads(self._fast.to_str())["decoder"]) else of_sentencepiece
    return [b"" if i in self._control else added[i].encode() if i in added
            else read(self.piece(i)) for i in range(self.vocab_size)]


@contextlib.contextmanager
def _panics(path):
  """A panic of Rust, which is no Exception, becomes a ValueError: a regular expression such as
  (a+)+$ is given up after 0.1 s."""
  try:
    yield
  except BaseException as e:
    if type(e).__name__ != "PanicException":
      raise
    raise ValueError(f"The tokenizer file {path} has a regular expression that takes too long on "
                     f"this text, or another fault ({printable(e, 300)}). Take the file of another "
                     "tokenizer.") from None


@TOKENIZERS.register("hf")
def hf(file, tokensets=()):
  """A tokenizer.json, with the pieces of `tokensets` that it lacks appended in sorted order.

  bos, eos and pad are those of tokenizer_config.json or special_tokens_map.json beside the file,
  or else pieces with the usual names. What the file says of templates, truncation and padding is
  not done. Raises FileNotFoundError, or ValueError for a file that is no such tokenizer.
  """
  path = str(file)
  description = _read_json(path, "file", "the tokenizer.json of a Hugging Face folder")
  with reading(path):
    return _from_description(path, description, tokensets)


def _from_description(path, description, tokensets):
  if not isinstance(description, dict) or not isinstance(description.get("model"), dict):
    hint = ("It is the settings of a KerasHub tokenizer, whose vocabulary lies in assets/tokenizer."
            if "registered_name" in description else "")
    raise ValueError(f"The tokenizer file {path} describes no model, so it is not a tokenizer.json "
                     f"of Hugging Face. {hint}".strip())
  for what in ("normalizer", "decoder"):
    if _growth(description.get(what)) > MOST_GROWTH:
      raise ValueError(f"The tokenizer file {path} has a {what} that makes texts more than "
                       f"{MOST_GROWTH} times as long.")
  added = description.get("added_tokens") or []
  for token in added:
    is_control = bool(token.get("special")) or token["content"] in ALWAYS_CONTROL
    token["special"] = is_control and not MATCHED.fullmatch(token["content"])
  control = {token["content"] for token in added if token["special"]} | ALWAYS_CONTROL
  description |= dict(added_tokens=added, post_processor=None, truncation=None, padding=None)
  if isinstance(description["model"].get("vocab"), list):  # a Unigram's [piece, score]
    description["added_tokens"] = _unmatched(description, control, path)
  fast = _build(lambda: tokenizers.Tokenizer.from_str(json.dumps(description)), path)
  fast.encode_special_tokens = True
  vocab = _vocabulary(fast)
  baked = sorted((p for p in vocab if MATCHED.fullmatch(p)), key=vocab.get)
  # Pieces of the model itself are split into characters unless they are added, where they keep ids.
  known = {token["content"] for token in added}
  pieces = [p for p in dict.fromkeys([*baked, *added_pieces(tokensets)]) if p not in known]
  fast.add_tokens([tokenizers.AddedToken(p, normalized=False) for p in pieces])
  control = [token["id"] for token in added if token["special"]]
  return _Fast(path, fast, _special_names(path, vocab), control)


def _vocabulary(fast):
  """{piece: id} without marks."""
  return {piece.removeprefix(MARK): i
          for piece, i in fast.get_vocab(with_added_tokens=True).items()}


def _unmatched(description, control, path):
  """Marks the control pieces of a Unigram model, which finds them in text as any other piece."""
  model = description["model"]
  try:
    model["vocab"] = [[MARK + piece if piece in control else piece, score]
                      for piece, score in model["vocab"]]
  except (TypeError, ValueError) as e:
    raise ValueError(f"The tokenizer file {path} has a vocabulary that is not a list of [piece, "
                     f"score] ({e}).") from None
  marked = {piece for piece, _ in model["vocab"]}
  return [token for token in description["added_tokens"] if MARK + token["content"] not in marked]


@TOKENIZERS.register("bpe")
def bpe(vocab, merges):
  """Byte-level BPE as OPT's: vocab.json {piece: id} and merges.txt, one "left right" a line.

  No space is put before the text; bos and eos are both </s>. Raises FileNotFoundError, or
  ValueError for a file that is not of this format.
  """
  vocab, merges = str(vocab), str(merges)
  ids = _read_json(vocab, "vocabulary", "vocab.json of a byte-level BPE")
  if not ids or not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
    raise ValueError(f"The tokenizer file {vocab} is not a dict {{piece: id}}.")
  pairs = _read_merges(merges, ids, vocab)
  # Unknown characters cannot arise where all 256 bytes are pieces; else they are not lost silently.
  unknown = "<unk>" if "<unk>" in ids else None
  fast = tokenizers.Tokenizer(_build(lambda: models.BPE(ids, pairs, unk_token=unknown), merges))
  fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  fast.decoder = decoders.ByteLevel()
  return _Fast(vocab, fast, _usual_names(ids), [ids[p] for p in CONTROL if p in ids])


def _read_merges(path, ids, vocab):
  data = read_file(path, f"merges {path!r}: the merges.txt of a byte-level BPE")
  try:
    lines = data.decode().split("\n")
  except UnicodeDecodeError as e:
    raise ValueError(f"The tokenizer file {path} is not UTF-8: {e}.") from e
  pairs = []
  for number, line in enumerate(lines, 1):
    line = line.rstrip("\r")
    if not line or (number == 1 and line.startswith("#version")):
      continue
    pair = tuple(line.split(" "))
    if len(pair) != 2:
      raise ValueError(f"{path}, line {number}: expected two pieces, got {line!r}.")
    if missing := [p for p in (*pair, "".join(pair)) if p not in ids]:
      raise ValueError(f"{path}, line {number}: the merge {line!r} needs the piece {missing[0]!r}, "
                       f"which is not in {vocab}; the two files are not of one tokenizer.")
    pairs.append(pair)
  return pairs


def _read_json(path, what, meant):
  data = read_file(path, f"{what} {path!r}: {meant}")
  return parse_json(data, f"The tokenizer file {path}")


def _growth(step):
  """By how many times a normalizer or decoder, and those in it, make a text longer at most."""
  step = step or {}
  inside = step.get("normalizers") or step.get("decoders") or []
  return max(1, len(str(step.get("content", "")))) * math.prod(map(_growth, inside))


def _check_vocabulary(fast, vocab, path):
  """Raises ValueError for two pieces of one id, and where a character of a text would be lost."""
  if max(vocab.values(), default=0) >= MOST_IDS:
    raise ValueError(f"The tokenizer file {path} has ids of {MOST_IDS:,} and more.")
  if len(set(vocab.values())) < len(vocab):
    twice = collections.Counter(vocab.values()).most_common(1)[0][0]
    pieces = [p for p, i in vocab.items() if i == twice]
    raise ValueError(f"The tokenizer file {path} gives {pieces[0]!r} and {pieces[1]!r} one id.")
  model = fast.model
  unk = getattr(model, "unk_token", None)
  if unk not in vocab and getattr(model, "unk_id", None) is None:
    lost = next((c for c in EVERY_BYTE if not fast.encode(c).ids), None)
    if lost:
      raise ValueError(f"The tokenizer file {path} has neither a piece for {lost!r} nor one for "
                       "unknown characters (unk_token): texts would lose characters.")


def _build(make, path):
  try:
    return make()
  except Exception as e:  # the package raises nothing narrower
    raise ValueError(f"The tokenizers package {tokenizers.__version__} cannot read {path}: "
                     f"{printable(e, 300)}.") from e


def _special_names(path, vocab):
  names = _usual_names(vocab)
  for companion in reversed(COMPANIONS):  # the first of them has the last word
    beside = local_or_remote(path).parent / companion
    if beside.exists():
      for what, value in _read_json(str(beside), "file", companion).items():
        if what in USUAL and value:
          names[what] = value["content"] if isinstance(value, dict) else value
  return names


def _usual_names(vocab):
  return {what: next((n for n in names if n in vocab), None) for what, names in USUAL.items()}
