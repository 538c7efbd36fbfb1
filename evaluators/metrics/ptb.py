"""Words of a caption as COCO's evaluation cuts them: Stanford's PTB tokenizer of 2014.

COCO's evaluation runs the Java tokenizer of CoreNLP 3.4.1 over a file with one caption on each
line, lower-cases its tokens and drops those on a list of punctuation marks. Every CIDEr, BLEU and
ROUGE of the literature rests on those tokens, so their oddities are kept:
  - Contractions are split: "don't" -> "do", "n't"; "cannot" -> "can", "not".
  - A hyphenated word, a URL, an address, a fraction, a file name are one token each.
  - Brackets stay, as "-lrb-": the list spells them in capitals, the tokens are lower case.
  - Euros and pounds become "$" and "#", "\u00bd" becomes "1/2", "?!" stays while "?" is dropped.
  - Emoji vanish, and with them what the tokenizer does not know: CJK quotes, vowel signs of
    Khmer, Burmese and Tibetan, which cut a word in two.
  - Text without spaces (Chinese, Japanese, Thai) is one token up to a punctuation mark.
  - Letters are those of the Unicode of 2012 up to U+FFFF; others vanish.

The rules are in `ptb_rules`. They were held against the Java program on every character up to
U+FFFF, on 72,994 sentences of programs' translations into about a hundred languages and on
600,000 random lines of awkward pieces; `ptb_tokenize` lists the differences.
"""
import functools
import re

from evaluators.metrics import lexer, ptb_rules

# COCO's list in the case in which tokens come; "-LRB-" and its like never match one.
DROPPED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

_BREAKS = re.compile("[\n\r\v\f\u2028\u2029]")


def _lower(token):
  """As Java: a capital sigma is final where cased letters of its word precede, none follow.

  Python's rule differs on "\u03a3\u0391\u03a3-\u03b1" and where a digit follows.
  """
  if "\u03a3" not in token:
    return token.lower()
  out = []
  for piece in re.split("([/&+_@#:?!=]+)", token):
    cased = [i for i, c in enumerate(piece) if c.lower() != c.upper()]
    out += ["\u03c2" if c == "\u03a3" and cased[0] < i == cased[-1] else c.lower()
            for i, c in enumerate(piece)]
  return "".join(out)


@functools.cache
def _lexer():
  rules = [rule for family in ptb_rules.FAMILIES for rule in family()]
  return (lexer.Lexer([(pattern, follow) for pattern, follow, _ in rules]),
          [act for _, _, act in rules])


def ptb_tokenize(text):
  """Words of a caption, as COCO's evaluation cuts them.

  Line breaks of any kind count as spaces. (COCO's evaluation does so for "\\n" only: another
  one shifts all captions that follow by one image.)

  Tokens equal the Java program's but for these:
    - It looks across the end of a line. A final single letter with a full stop is "x." or "x",
      "." by whether the next caption begins with one of some fifty words ("The", "A"); a final
      "'re" of the last caption loses its apostrophe; a tag may go on in the next caption. Here
      a caption is read as if another one in lower case followed, so that its tokens do not
      depend on the others (10 of 72,994 sentences in a random order differ).
    - A capital sigma in a word that mixes scripts or hangs together with digits by a hyphen.

  Args:
    text: str.

  Returns:
    list of str, lower case. None holds an ordinary space, but a mixed fraction, a telephone
    number or a tag may hold a no-break space: "1 1/2" is one token.
  """
  machine, acts = _lexer()
  text = _BREAKS.sub(" ", text) + "\n"
  kinds = machine.read(text)
  tokens, start = [], 0
  while start < len(text):
    rule, end = machine.match(kinds, start)
    token = acts[rule](text[start:end])
    if token:
      tokens.append(_lower(token))
    start = end - ptb_rules.SHORTENED.get(acts[rule], 0)
  if tokens:  # COCO's evaluation strips each line; an address may end in an odd space
    tokens[-1] = tokens[-1].rstrip()
  return [token for token in tokens if token not in DROPPED]
