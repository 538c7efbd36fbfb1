r"""Text of others (names, ids, answers) for a terminal: it shows what is there and does nothing.

  printable("a\x1b[2Jb.png")   "a\u001b[2Jb.png"

Escapes are those of JSON, so that a line of JSON keeps its meaning.
"""
import re

MOST = 200  # characters of a name
MOST_OF_LINE = 4000  # characters of a line of an error: a name in it may have megabytes
# Control characters (ESC, CR, C1's CSI), invisible and bidirectional formatting, line separators,
# halves of surrogate pairs, tags. The joiners U+200C and U+200D stay: scripts and emoji need them.
_ACTS = re.compile("[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
                   "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]")


def printable(text, most=MOST, keep=""):
  """str(text) with all that acts on a terminal escaped, but for the characters of `keep`; of a text
  longer than `most` characters the middle is left out (None: nothing is)."""
  text = str(text)
  if most and len(text) > most:
    tail = most // 4
    text = (f"{text[:most - tail]}... [{len(text) - most:,} characters] ..."
            f"{text[len(text) - tail:]}")
  return _ACTS.sub(lambda c: c[0] if c[0] in keep else _escaped(c[0]), text)


def printable_lines(text):
  """Each line of str(text) as printable() shows it, of at most MOST_OF_LINE characters."""
  return "\n".join(printable(line, MOST_OF_LINE) for line in str(text).split("\n"))


def _escaped(character):
  return re.sub("....", r"\\u\g<0>", character.encode("utf-16-be", "surrogatepass").hex())


class Printable:
  """A text stream that shows what is written to it as printable() does, whole, with its newlines
  and tabs. `raw` is the stream behind it, for what is to act: a progress bar, colours."""

  def __init__(self, raw):
    self.raw = raw

  def write(self, text):
    if not isinstance(text, str):  # by this libraries such as click tell a text stream
      raise TypeError(f"write() takes a str, not {type(text).__name__}")
    self.raw.write(printable(text, None, "\n\t"))
    return len(text)

  def writelines(self, lines):
    self.write("".join(lines))

  def __getattr__(self, name):
    return getattr(self.raw, name)


def raw(stream):
  """The stream behind a Printable, or the stream itself."""
  return stream.raw if isinstance(stream, Printable) else stream
