"""Text <-> token ids: the protocol, and SentencePiece with added pieces.

  tok = get_tokenizer("gemma(tokensets=('loc', 'seg'))")
  tok.to_int("detect cat", bos=True)  ->  [2, ...]        tok.to_str([...])  ->  "..."

Added pieces (tokensets) are matched in raw text and are one id each: with Gemma's 256,000 pieces
<loc0000>..<loc1023> are 256000..257023 and <seg000>..<seg127> are 257024..257151. Control pieces
are not: "<eos>" in a text is ordinary characters, so that no prompt can end or begin a sequence.
"""

import functools
import io
import itertools
import os
import pathlib
from typing import Protocol

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from pp.registry import TOKENIZERS, TOKENSETS

GEMMA_MODEL = "BIG_VLM_GEMMA_TOKENIZER"  # environment variable: where Gemma's model file lies


class Tokenizer(Protocol):
  """What the ops, the models and the evaluators ask of a tokenizer."""

  pad_token: int
  bos_token: int
  eos_token: int
  vocab_size: int

  def to_int(self, text, *, bos=False, eos=False):
    """str -> list of ids; list of str -> list of such lists."""

  def to_str(self, ids, *, stop_at_eos=True):
    """Ids [L] -> str; [N,L] or a list of lists -> list of str. Control pieces are left out."""


def get_tokenizer(name):
  """The tokenizer that `name` describes, e.g. "sp('my.model', tokensets=('loc', 'seg'))".

  The same name gives the same object. Raises ValueError for an unknown name or argument and
  FileNotFoundError if the model file is missing.
  """
  return _cached(name, os.environ.get(GEMMA_MODEL))


@functools.lru_cache(maxsize=32)
def _cached(name, _):
  return TOKENIZERS.build(name)


@TOKENSETS.register("loc")
def loc_pieces(n=1024):
  """<loc0000>, <loc0001>, ...: the coordinates of a box, in bins."""
  return [f"<loc{i:04d}>" for i in range(n)]


@TOKENSETS.register("seg")
def seg_pieces(n=128):
  """<seg000>, <seg001>, ...: the codes of a mask."""
  return [f"<seg{i:03d}>" for i in range(n)]


@TOKENIZERS.register("gemma")
def gemma(tokensets=(), model=None):
  """Gemma's SentencePiece model, from `model` or from where $BIG_VLM_GEMMA_TOKENIZER points."""
  model = model or os.environ.get(GEMMA_MODEL)
  if not model:
    raise ValueError(
        "The tokenizer 'gemma' needs Gemma's SentencePiece model file, which cannot be shipped: "
        "download tokenizer.model from any released Gemma or PaliGemma, then name it as "
        f"gemma(model='path/to/tokenizer.model') or in the environment variable {GEMMA_MODEL}.")
  return SentencePiece(model, tokensets)


@TOKENIZERS.register("sp")
class SentencePiece:
  """A SentencePiece model file plus the pieces of `tokensets`, e.g. ("loc", "seg").

  A piece that the model has already keeps its id, the others are appended in sorted order.
  """

  def __init__(self, model, tokensets=()):
    self.path = str(model)
    tokensets = (tokensets,) if isinstance(tokensets, str) else tokensets
    extras = sorted(set(itertools.chain(*(TOKENSETS.build(t) for t in tokensets))))
    proto = _add_pieces(_read_model(self.path), extras)
    self._sp = sentencepiece.SentencePieceProcessor(model_proto=proto)
    self.pad_token = self._sp.pad_id()
    self.bos_token = self._sp.bos_id()
    self.eos_token = self._sp.eos_id()
    self.vocab_size = self._sp.get_piece_size()

  def to_int(self, text, *, bos=False, eos=False):
    """str (or UTF-8 bytes) -> list of ids, with bos and eos added if asked; a list -> a list."""
    if isinstance(text, (list, tuple, np.ndarray)):
      return [self.to_int(t, bos=bos, eos=eos) for t in text]
    text = text.decode() if isinstance(text, bytes) else text
    for wanted, token, what in [(bos, self.bos_token, "bos"), (eos, self.eos_token, "eos")]:
      if wanted and token < 0:
        raise ValueError(f"The tokenizer {self.path} has no {what} piece.")
    return [self.bos_token] * bool(bos) + self._sp.encode(text) + [self.eos_token] * bool(eos)

  def to_str(self, ids, *, stop_at_eos=True):
    """Ids -> str, up to the first eos unless stop_at_eos=False; [N,L] or a list of lists -> list.

    Control pieces are left out, and so are ids beyond the vocabulary, which a model whose
    embedding table is padded can emit.
    """
    if getattr(ids, "ndim", 1) == 2 or (len(ids) and np.ndim(ids[0]) == 1):
      return [self.to_str(row, stop_at_eos=stop_at_eos) for row in ids]
    ids = np.asarray(ids).astype(int).tolist()
    if stop_at_eos and self.eos_token in ids:
      ids = ids[:ids.index(self.eos_token)]
    return self._sp.decode([i for i in ids if 0 <= i < self.vocab_size]) if ids else ""

  def piece(self, i):
    """The piece of one id as the model spells it, "▁" for a space: for looking at tokens."""
    if not 0 <= int(i) < self.vocab_size:
      raise ValueError(f"Token id {int(i)} is not in 0..{self.vocab_size - 1} of {self.path}.")
    return self._sp.id_to_piece(int(i))


def check_single_ids(tokenizer, pieces=("<loc0000>", "<loc1023>", "<seg000>", "<seg127>")):
  """Raises ValueError unless each of `pieces` is one id of its own inside a text."""
  lengths = {p: len(tokenizer.to_int(f"{p}{p}")) for p in pieces}
  if split := {p: n / 2 for p, n in lengths.items() if n != 2}:
    raise ValueError(
        f"The tokenizer does not know {', '.join(split)}: it reads them as ordinary characters. "
        "Name their tokensets, e.g. gemma(tokensets=('loc', 'seg')).")


def _read_model(path):
  if "://" in path:
    from etils import epath  # here: only remote paths need it, and it is slow to import
    path = epath.Path(path)
  else:
    path = pathlib.Path(path).expanduser()
  try:
    return path.read_bytes()
  except OSError as e:
    raise FileNotFoundError(
        f"Cannot read the tokenizer model {str(path)!r} ({e.strerror or e}). It is the .model file "
        "that SentencePiece wrote; train_sentencepiece makes one from your own texts.") from e


def _add_pieces(model, extras):
  proto = sentencepiece_model_pb2.ModelProto()
  try:
    proto.ParseFromString(model)
  except Exception as e:
    raise ValueError(f"This file of {len(model)} bytes is not a SentencePiece model: {e}.") from e
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
