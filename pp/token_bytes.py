"""The bytes that each token of a vocabulary adds to a text, and how pieces spell them."""
import functools
import re

BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@functools.lru_cache(maxsize=8)
def token_bytes(tokenizer):
  """(bytes, ...) by id; b"" for control pieces and ids without a piece, which no text shows.

  Where a decoder drops the space at the start of a text, it is in here.
  """
  return tuple(tokenizer.token_bytes())


def of_sentencepiece(piece):
  """The bytes of a piece that writes a space as "▁" and a single byte as "<0x0A>"."""
  if found := BYTE.fullmatch(piece):
    return bytes([int(found[1], 16)])
  return piece.replace("▁", " ").encode()


def of_byte_level(piece):
  """The bytes of a piece that writes each byte as a character of its own."""
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
