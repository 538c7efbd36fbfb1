"""The bytes that each token of a vocabulary adds to a text."""
import functools
import json
import re

from pp.tokenizer import SentencePiece, Tokenizer

BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@functools.lru_cache(maxsize=8)
def token_bytes(tokenizer: Tokenizer) -> tuple:
  """(bytes, ...) by id; b"" for control pieces and ids without a piece, which no text shows.

  SentencePiece writes a space as "▁" and single bytes as "<0x0A>", byte-level BPE each byte as a
  character of its own. Where a decoder drops the space at the start of a text, it is in here.
  """
  size = tokenizer.vocab_size
  if isinstance(tokenizer, SentencePiece):
    sp, ids = tokenizer._sp, list(range(size))
    hidden = [a or b or c for a, b, c in zip(sp.is_control(ids), sp.is_unknown(ids),
                                             sp.is_unused(ids))]
    return tuple(b"" if skip else _sentencepiece(piece)
                 for piece, skip in zip(sp.id_to_piece(ids), hidden))
  fast = tokenizer._fast
  added = {i: token.content for i, token in fast.get_added_tokens_decoder().items()}
  read = _byte_level if '"ByteLevel"' in json.dumps(
      json.loads(fast.to_str())["decoder"]) else _sentencepiece
  return tuple(b"" if i in tokenizer._control else added[i].encode() if i in added
               else read(tokenizer.piece(i)) for i in range(size))


def _sentencepiece(piece):
  if found := BYTE.fullmatch(piece):
    return bytes([int(found[1], 16)])
  return piece.replace("▁", " ").encode()


def _byte_level(piece):
  table = _characters()
  if not all(c in table for c in piece):
    return piece.encode()
  return bytes(table[c] for c in piece)


@functools.cache
def _characters():
  """{character: byte} of GPT-2: printable bytes are themselves, others follow from 256 on."""
  plain = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
  others = [b for b in range(256) if b not in plain]
  return {chr(b): b for b in plain} | {chr(256 + n): b for n, b in enumerate(others)}
