"""Text <-> token ids: the protocol, and SentencePiece with added pieces.

  tok = get_tokenizer("gemma(tokensets=('loc', 'seg'))")
  tok.to_int("detect cat", bos=True)  ->  [2, ...]        tok.to_str([...])  ->  "..."

  gemma(tokensets)           Gemma's SentencePiece model     sp(model, tokensets)  any other
  hf(file, tokensets)        a tokenizer.json of Hugging Face         } in tokenizer_fast.py
  bpe(vocab, merges)         OPT's byte-level BPE                     }

Added pieces (tokensets) are matched in raw text and are one id each: with Gemma's 256,000 pieces
<loc0000>..<loc1023> are 256000..257023 and <seg000>..<seg127> are 257024..257151. Control pieces
are not: "<eos>" in a text is ordinary characters, so that no prompt can end or begin a sequence.
"""

import contextlib
import functools
import importlib
import io
import itertools
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import sentencepiece
from google.protobuf import message as protobuf_message
from sentencepiece import sentencepiece_model_pb2

from pp.foreign import read_bytes, reading
from pp.registry import TOKENIZERS, TOKENSETS, parse_call
from pp.token_bytes import of_sentencepiece

MAX_BYTES = 128 << 20  # of a tokenizer file
GEMMA_MODEL = "BIG_VLM_GEMMA_TOKENIZER"  # environment variable: where Gemma's model file lies


def get_tokenizer(name: str) -> "Tokenizer":
  """The tokenizer that `name` describes, e.g. "sp('my.model', tokensets=('loc', 'seg'))".

  The same name gives the same object, as long as its files stay as they are. Raises ValueError for
  an unknown name or argument or a file that is no tokenizer, and FileNotFoundError if the file is
  missing.
  """
  if str(name).endswith((".model", ".json")):
    kind, more = ("hf", "") if str(name).endswith(".json") else ("sp", ", tokensets=('loc', 'seg')")
    raise ValueError(f"{name} is a file: name the tokenizer that is in it, \"{kind}('{name}'{more})"
                     "\".")
  gemma = os.environ.get(GEMMA_MODEL)
  return _cached(name, gemma, _stamps(name, gemma))


def difference(name, other):
  """How two tokenizer strings differ in pieces and ids, as text; "" if a model reads both alike.

  Spelling, path and file format do not count, nor do control pieces at the end of the vocabulary,
  such as <image>, which no text becomes.
  """
  if name == other:
    return ""
  a, b = get_tokenizer(name), get_tokenizer(other)
  for what in ("pad_token", "bos_token", "eos_token"):
    if getattr(a, what) != getattr(b, what):
      return f"{what} is {getattr(a, what)} in {name} and {getattr(b, what)} in {other}"
  for i in range(max(a.vocab_size, b.vocab_size)):
    of_a, of_b = (t.piece(i) if i < t.vocab_size else "" for t in (a, b))
    one = a if of_a else b
    if of_a != of_b and (of_a and of_b or one.to_int(one.piece(i).replace("▁", " ")) == [i]):
      return f"piece {i} is {of_a or 'missing'} in {name} and {of_b or 'missing'} in {other}"
  return ""


@functools.lru_cache(maxsize=32)
def _cached(name, gemma, stamps):
  return known_tokenizers().build(name)


def _stamps(name, gemma):
  """What changes with the files of this machine that a tokenizer string names."""
  _, args, kwargs = parse_call(name)
  found = []
  for path in (*args, *kwargs.values(), gemma):
    with contextlib.suppress(OSError, ValueError, TypeError):  # no file, or another argument
      told = os.stat(os.path.expanduser(path))
      found.append((told.st_ino, told.st_size, told.st_mtime_ns))
  return tuple(found)


def known_tokenizers():
  """TOKENIZERS with every kind in it."""
  importlib.import_module("pp.tokenizer_fast")  # here: it imports this file
  return TOKENIZERS


@TOKENSETS.register("loc")
def loc_pieces(n=1024):
  """<loc0000>, <loc0001>, ...: the coordinates of a box, in bins."""
  return [f"<loc{i:04d}>" for i in range(n)]


@TOKENSETS.register("seg")
def seg_pieces(n=128):
  """<seg000>, <seg001>, ...: the codes of a mask."""
  return [f"<seg{i:03d}>" for i in range(n)]


class Tokenizer:
  """The interface of all tokenizers. A subclass gives _encode, _decode, _spelling and token_bytes.

  path: the file it was read from, for messages. A control token that it lacks is -1.
  """

  path: str
  pad_token: int
  bos_token: int
  eos_token: int
  vocab_size: int  # one more than the largest id

  def to_int(self, text: str | bytes | Sequence, *, bos: bool = False, eos: bool = False) -> list:
    """str (or UTF-8 bytes) -> list of ids, with bos and eos added if asked; a list -> a list."""
    if isinstance(text, (list, tuple, np.ndarray)):
      return [self.to_int(t, bos=bos, eos=eos) for t in text]
    text = text.decode() if isinstance(text, bytes) else text
    try:
      text.encode()
    except UnicodeEncodeError as e:
      raise ValueError(f"The text {ascii(text[:80])} has half a character at {e.start} (a lone "
                       "surrogate): it was cut inside an emoji, or is not UTF-8.") from None
    for wanted, token, what in [(bos, self.bos_token, "bos"), (eos, self.eos_token, "eos")]:
      if wanted and token < 0:
        raise ValueError(f"The tokenizer {self.path} has no {what} piece.")
    return [self.bos_token] * bool(bos) + self._encode(text) + [self.eos_token] * bool(eos)

  def to_str(self, ids: Sequence | np.ndarray, *, stop_at_eos: bool = True) -> str | list:
    """Ids -> str, up to the first eos unless stop_at_eos=False; [N,L] or a list of lists -> list.

    A leading eos that is the bos too, as OPT's, does not end the text. Control pieces are left
    out, and so are ids beyond the vocabulary, which a model whose embedding table is padded can
    emit.
    """
    if getattr(ids, "ndim", 1) == 2 or (len(ids) and np.ndim(ids[0]) == 1):
      return [self.to_str(row, stop_at_eos=stop_at_eos) for row in ids]
    ids = np.asarray(ids).astype(int).tolist()
    if ids and ids[0] == self.bos_token:
      ids = ids[1:]
    if stop_at_eos and self.eos_token in ids:
      ids = ids[:ids.index(self.eos_token)]
    return self._decode([i for i in ids if 0 <= i < self.vocab_size]) if ids else ""

  def piece(self, i: int) -> str:
    """The piece of one id as the vocabulary spells it, "▁" or "Ġ" for a space."""
    if not 0 <= int(i) < self.vocab_size:
      raise ValueError(f"Token id {int(i)} is not in 0..{self.vocab_size - 1} of {self.path}.")
    return self._spelling(int(i))

  def token_bytes(self) -> list:
    """[bytes] by id of what each adds to a text; b"" for control pieces and ids without a piece."""
    raise NotImplementedError


def added_pieces(tokensets):
  """The pieces of ("loc", "seg(n=16)"), or of one such name, in the order of their ids."""
  tokensets = (tokensets,) if isinstance(tokensets, str) else tokensets
  return sorted(set(itertools.chain(*(TOKENSETS.build(t) for t in tokensets))))


@TOKENIZERS.register("gemma")
def gemma(tokensets=(), model=None):
  """Gemma's SentencePiece model, from `model` or from where $BIG_VLM_GEMMA_TOKENIZER points."""
  return SentencePiece(gemma_file(model), tokensets)


def gemma_file(model=None):
  """`model`, or the file that the environment names. Raises ValueError if there is neither."""
  if model := model or os.environ.get(GEMMA_MODEL):
    return model
  raise ValueError(
      "The tokenizer 'gemma' needs Gemma's SentencePiece model file, which cannot be shipped: "
      "download tokenizer.model from any released Gemma or PaliGemma, then name it as "
      f"gemma(model='path/to/tokenizer.model') or in the environment variable {GEMMA_MODEL}.")


@TOKENIZERS.register("sp")
class SentencePiece(Tokenizer):
  """A SentencePiece model file plus the pieces of `tokensets`, e.g. ("loc", "seg").

  A piece that the model has already, of whatever type, keeps its id and becomes one that is
  matched in text; the others are appended in sorted order. So the same call reads Gemma's own
  model and the one of a released PaliGemma, where the pieces are baked in.
  """

  def __init__(self, model, tokensets=()):
    self.path = str(model)
    data = read_file(self.path, f"model {self.path!r}: the .model file that SentencePiece wrote, "
                                "which train_sentencepiece makes from your own texts")
    with reading(self.path):
      proto = _add_pieces(data, added_pieces(tokensets), self.path)
      self._sp = sentencepiece.SentencePieceProcessor(model_proto=proto)
    self.pad_token = self._sp.pad_id()
    self.bos_token = self._sp.bos_id()
    self.eos_token = self._sp.eos_id()
    self.vocab_size = self._sp.get_piece_size()

  def serialized(self):
    """bytes: the SentencePiece model with the added pieces baked in."""
    return self._sp.serialized_model_proto()

  def _encode(self, text):
    return self._sp.encode(text)

  def _decode(self, ids):
    return self._sp.decode(ids)

  def _spelling(self, i):
    return self._sp.id_to_piece(i)

  def token_bytes(self):
    sp, ids = self._sp, list(range(self.vocab_size))
    hidden = map(any, zip(sp.is_control(ids), sp.is_unknown(ids), sp.is_unused(ids)))
    return [b"" if skip else of_sentencepiece(piece)
            for piece, skip in zip(sp.id_to_piece(ids), hidden)]


def check_single_ids(tokenizer, pieces=("<loc0000>", "<loc1023>", "<seg000>", "<seg127>")):
  """Raises ValueError unless each of `pieces` is one id of its own inside a text."""
  lengths = {p: len(tokenizer.to_int(f"{p}{p}")) for p in pieces}
  if split := {p: n / 2 for p, n in lengths.items() if n != 2}:
    raise ValueError(
        f"The tokenizer does not know {', '.join(split)}: it reads them as ordinary characters. "
        "Name their tokensets, e.g. gemma(tokensets=('loc', 'seg')).")


def local_or_remote(path):
  """The pathlib.Path of a path, or the etils one of an address such as gs://..."""
  if "://" in str(path):
    from etils import epath  # here: only remote paths need it, and it is slow to import
    return epath.Path(path)
  return pathlib.Path(path).expanduser()


def read_file(path, what):
  """The bytes of a file; FileNotFoundError says `what` it should have been."""
  try:
    return read_bytes(local_or_remote(path), MAX_BYTES)
  except OSError as e:
    raise FileNotFoundError(
        f"Cannot read the tokenizer {what} ({e.strerror or e}).") from e


def _add_pieces(model, extras, path):
  proto = sentencepiece_model_pb2.ModelProto()
  try:
    proto.ParseFromString(model)
    problem = "" if len(proto.pieces) else ": it holds no pieces"
  except protobuf_message.DecodeError as e:
    problem = f": {e}"
  if problem:
    raise ValueError(
        f"The tokenizer file {path} of {len(model)} bytes is not a SentencePiece model{problem}.")
  index = {p.piece: i for i, p in enumerate(proto.pieces)}
  for extra in (e.replace(" ", "▁") for e in extras):
    piece = proto.pieces[index[extra]] if extra in index else proto.pieces.add()
    piece.piece, piece.score, piece.type = extra, 0.0, piece.USER_DEFINED
  return proto.SerializeToString()


def train_sentencepiece(texts, path, vocab_size, model_type="unigram"):
  """Trains a SentencePiece model on `texts`, writes it to `path` and returns the tokenizer.

  As in Gemma: ids pad 0, eos 1, bos 2, unk 3; "\\n" and each digit are pieces of their own. Text
  is not normalised and unknown characters fall back to bytes, so that every text without "▁"
  (SentencePiece's own sign for a space) comes back as it was. Same texts, same file.

  Args:
    texts: iterable of str.
    vocab_size: the most pieces to make, 261 at least plus one for each character of the texts;
      short texts give fewer.
    model_type: "unigram" or "bpe".
  """
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=vocab_size,
        model_type=model_type, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>",
        eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>", user_defined_symbols=["\n"],
        byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False,
        remove_extra_whitespaces=False, split_digits=True, hard_vocab_limit=False,
        max_sentence_length=1 << 20, minloglevel=2,
        num_threads=1)  # the sums of several threads differ in the last bit
  except RuntimeError as e:
    raise ValueError(f"Cannot train a tokenizer with vocab_size={vocab_size}: {e}") from e
  pathlib.Path(path).write_bytes(model.getvalue())
  return SentencePiece(path)
