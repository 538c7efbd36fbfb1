"""Captions against several references: CIDEr-D, BLEU and ROUGE-L on PTB tokens, without Java.

The numbers are those of pycocoevalcap 1.2 with its Java tokenizer, on its scales; papers print them
times 100 (a CIDEr of 1.419 as 141.9). Its METEOR and SPICE are not here: both are Java programs.

For text without spaces (Chinese, Japanese, Thai) the stock tokenizer makes one token of a whole
caption. Published averages over languages were made so; `scores` adds metrics by character.
"""
import collections
import functools
import math
import operator
import re

from evaluators.metrics.ids import paired
from evaluators.metrics.ptb import ptb_tokenize

_MAX_N = 4
_SIGMA = 6.0

# A character of a script without spaces: Thai with its signs, Han, kana.
_UNSPACED = re.compile(r"[\u0e01-\u0e5b][\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]*"
                       r"|[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff]"
                       r"|[^\u0e01-\u0e5b\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff"
                       r"\uf900-\ufaff]+")
LANGUAGES_WITHOUT_SPACES = ("ja", "th", "zh")


def character_tokenize(text):
  """PTB tokens, those of Han, kana and Thai cut into characters (with their vowel signs).

  Our own choice, no benchmark's: scores on these tokens are higher than on the stock ones and
  compare with nothing published, but they tell captions apart where the stock ones are near 0.
  """
  return [piece for token in ptb_tokenize(text) for piece in _UNSPACED.findall(token)]


def cider(candidates, references, *, tokenize=ptb_tokenize):
  """CIDEr-D of a set of captions (Vedantam et al. 2015, section 6), as pycocoevalcap computes it.

  n-grams of 1 to 4 words, tf-idf weights with the document frequency counted over the images
  of `references`, counts clipped at the reference's, a Gaussian penalty (sigma 6) on the
  difference of length, averaged over n and over references, times 10. So:
    - The score of one caption depends on the whole set: never average over batches. A set
      of one image scores 0, as every idf is log(1 / 1).
    - Perfect captions of two words reach 5.0, not 10: they have no 3- and 4-grams.

  Args:
    candidates: {id: str}, one caption for each id.
    references: {id: list of str}, at least one caption for each of the same ids. An empty
      caption counts as one without words.
    tokenize: str -> list of str. Another one (a word segmenter for Chinese) gives scores that
      do not compare with published ones.

  Returns:
    (corpus, {id: score}): the mean and the score of each id, floats on the 0 to 10 scale.

  Raises:
    ValueError: where the sets are empty, the ids differ, or an id has no reference.
    TypeError: where a caption is not a string, or the references of an id are one string instead
      of a list.
  """
  return _cider(*_tokens(candidates, references, tokenize))


def bleu(candidates, references, *, tokenize=ptb_tokenize):
  """BLEU-1 to BLEU-4 (Papineni et al. 2002), as pycocoevalcap computes them.

  Clipped n-gram precision, geometric mean over 1..n, brevity penalty against the reference
  whose length is closest (the shorter of two equally close). The corpus score pools the counts
  of all captions: it is not the mean of the captions' scores. Nothing is smoothed: a caption
  without a 4-gram in common has a BLEU-4 near 0 (1e-4 or less).

  Arguments and errors as in `cider`.

  Returns:
    ([4 corpus scores], {id: [4 scores]}), floats on the 0 to 1 scale.
  """
  return _bleu(*_tokens(candidates, references, tokenize))


def rouge_l(candidates, references, *, tokenize=ptb_tokenize):
  """ROUGE-L (Lin 2004) with beta 1.2, as pycocoevalcap computes it.

  From the longest common subsequence with each reference: the best precision and the best
  recall, which may be of different references, joined to F = (1 + b^2) P R / (R + b^2 P).
  An empty caption scores 1 against an empty reference and 0 against any other.

  Arguments and errors as in `cider`.

  Returns:
    (corpus, {id: score}): the mean and the score of each id, floats on the 0 to 1 scale.
  """
  return _rouge_l(*_tokens(candidates, references, tokenize))


def scores(candidates, references, *, language=None):
  """All corpus scores at once: each caption is cut into words only once.

  Args:
    candidates, references: as in `cider`.
    language: code of the captions' language. For "ja", "th" and "zh" the metrics by character
      (`character_tokenize`) are given beside the stock ones.

  Returns:
    {"cider", "bleu_1", ..., "bleu_4", "rouge_l"} and, for those languages, the same names with
    "_characters" behind, floats on the scales of the functions above.

  Raises:
    ValueError, TypeError: as in `cider`.
  """
  ways = {"": ptb_tokenize}
  if language in LANGUAGES_WITHOUT_SPACES:
    ways["_characters"] = character_tokenize
  out = {}
  for suffix, tokenize in ways.items():
    tokens = _tokens(candidates, references, tokenize)
    out["cider" + suffix] = _cider(*tokens)[0]
    out.update({f"bleu_{n + 1}{suffix}": value for n, value in enumerate(_bleu(*tokens)[0])})
    out["rouge_l" + suffix] = _rouge_l(*tokens)[0]
  return out


def _tokens(candidates, references, tokenize):
  """Checked captions -> the same two dictionaries with lists of words in place of strings."""
  _check(candidates, references)
  return ({i: tokenize(text) for i, text in candidates.items()},
          {i: [tokenize(text) for text in texts] for i, texts in references.items()})


def _check(candidates, references):
  paired(candidates, references)
  for i, texts in references.items():
    if isinstance(texts, str):
      raise TypeError(f"The references of id {i!r} are the string {texts!r}; give a list of "
                      "strings.")
    for what, text in (("candidate", candidates[i]), *(("reference", t) for t in texts)):
      if not isinstance(text, str):
        raise TypeError(f"A {what} of id {i!r} is {text!r} ({type(text).__name__}); captions "
                        "are strings.")
  if empty := [i for i, texts in references.items() if not len(texts)]:
    raise ValueError(f"{len(empty)} ids have an empty list of references, e.g. {empty[:3]}.")


def _ngrams(words):
  counts = collections.Counter()
  for n in range(1, _MAX_N + 1):
    counts.update(zip(*(words[k:] for k in range(n))))
  return counts


def _words(tokens):
  """Tokens cut at no-break spaces too: the one token "1 1/2" is two words of CIDEr and BLEU."""
  return " ".join(tokens).split()


def _cider(candidates, references):
  ngrams = {i: [_ngrams(_words(ref)) for ref in refs] for i, refs in references.items()}
  frequency = collections.Counter()
  for refs in ngrams.values():
    frequency.update(set().union(*refs))
  log_images = math.log(len(ngrams))
  idf = {gram: log_images - math.log(count) for gram, count in frequency.items()}
  each = {}
  for i, tokens in candidates.items():
    candidate = _weigh(_ngrams(_words(tokens)), idf, log_images)
    similar = [_similarity(candidate, _weigh(ref, idf, log_images)) for ref in ngrams[i]]
    each[i] = 10.0 * sum(similar) / len(similar)
  return sum(each.values()) / len(each), each


def _weigh(counts, idf, unseen):
  """-> ({n-gram: tf-idf}, norm for each n, length); an n-gram not in `idf` weighs `unseen`."""
  weights, squares = {}, [0.0] * _MAX_N
  for gram, count in counts.items():
    weights[gram] = weight = count * idf.get(gram, unseen)
    squares[len(gram) - 1] += weight * weight
  # The reference code measures length in bigrams, so captions of 0 and 1 words are as long.
  length = sum(count for gram, count in counts.items() if len(gram) == 2)
  return weights, [math.sqrt(square) for square in squares], length


def _similarity(candidate, reference):
  """Clipped cosine, averaged over n, with the length penalty: a float in [0, 1]."""
  (weights, norms, length), (ref_weights, ref_norms, ref_length) = candidate, reference
  dots = [0.0] * _MAX_N
  for gram, weight in weights.items():
    if gram in ref_weights:
      dots[len(gram) - 1] += min(weight, ref_weights[gram]) * ref_weights[gram]
  cosines = [dot / (a * b) if a and b else dot for dot, a, b in zip(dots, norms, ref_norms)]
  return sum(cosines) / _MAX_N * math.exp(-(length - ref_length) ** 2 / (2 * _SIGMA**2))


def _bleu(candidates, references):
  total, each = [0] * (2 * _MAX_N + 2), {}
  for i, tokens in candidates.items():
    words, refs = _words(tokens), list(map(_words, references[i]))
    most = functools.reduce(operator.or_, map(_ngrams, refs))  # the largest count of any
    matches = [0] * _MAX_N
    for gram, count in _ngrams(words).items():
      matches[len(gram) - 1] += min(count, most[gram])
    possible = [max(len(words) - n, 0) for n in range(_MAX_N)]
    closest = min(map(len, refs), key=lambda length: (abs(length - len(words)), length))
    counts = [*matches, *possible, len(words), closest]
    total = [a + b for a, b in zip(total, counts)]
    each[i] = _bleu_of_counts(counts)
  return _bleu_of_counts(total), each


def _bleu_of_counts(counts):
  """[matches of n = 1..4, n-grams of n = 1..4, words, words of the reference] -> [4 scores]."""
  *ngrams, words, closest = counts
  # The reference code's two constants against 0 / 0: a caption without n-grams scores near 0.
  tiny, small = 1e-15, 1e-9
  ratio = (words + tiny) / (closest + small)
  penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
  product, out = 1.0, []
  for n in range(_MAX_N):
    product *= (ngrams[n] + tiny) / (ngrams[_MAX_N + n] + small)
    out.append(product ** (1 / (n + 1)) * penalty)
  return out


def _rouge_l(candidates, references, beta=1.2):
  each = {}
  for i, tokens in candidates.items():
    tokens = tokens or [""]  # as the reference code splits an empty line
    refs = [ref or [""] for ref in references[i]]
    common = [_common_length(tokens, ref) for ref in refs]
    precision = max(common) / len(tokens)
    recall = max(n / len(ref) for n, ref in zip(common, refs))
    each[i] = ((1 + beta**2) * precision * recall / (recall + beta**2 * precision)
               if precision and recall else 0.0)
  return sum(each.values()) / len(each), each


def _common_length(a, b):
  """Length of the longest common subsequence, a row of its table as the bits of one number.

  A bit that is 0 marks a place of `b` where the row grows by one (Hyyroe 2004).
  """
  places = collections.defaultdict(int)
  for i, word in enumerate(b):
    places[word] |= 1 << i
  full = (1 << len(b)) - 1
  row = full
  for word in a:
    hits = row & places[word]
    row = ((row + hits) | (row - hits)) & full
  return len(b) - row.bit_count()
