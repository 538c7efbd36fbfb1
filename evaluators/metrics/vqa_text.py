"""How the VQA servers clean an answer before they compare it."""
import re

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'  # the list of 2021; that of 2015 had ' and : too
_NUMBERS = {word: str(n) for n, word in enumerate(
    "zero one two three four five six seven eight nine ten".split())} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_DIGIT_COMMA = re.compile(r"\d,\d")
# Meant to spare the point of a number; as the server spells its look-behind, it looks ahead at the
# point itself, so every point goes that no digit follows.
_POINT = re.compile(r"\.(?!\d)")
_POINTS = 32  # the server's call takes a flag, re.UNICODE == 32, for the number of replacements

# Words that get an apostrophe back. The server knows each with any one of its apostrophes left out.
_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't
mightn't've must've mustn't needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's they'd
they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've
when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't
would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
""".split()
_SPELLED = {word[:i] + word[i + 1:]: word
            for word in _CONTRACTIONS for i, letter in enumerate(word) if letter == "'"}
_SPELLED["somebody'd"] = "somebodyd"  # sic: this one loses its apostrophe


def strip_space(text):
  """Newlines and tabs as spaces, none at the ends: what the server does to every answer."""
  return text.replace("\n", " ").replace("\t", " ").strip()


def normalize(text):
  """An answer as the VQAv2 server compares it: punctuation, number words, articles, contractions.

  In this order: each punctuation mark is deleted where the text has it beside a space, or has a
  comma between digits anywhere, else it becomes a space; a point with no digit after it goes (of
  points the first 32 at most); lower case; none, zero, ..., ten become digits; a, an, the go;
  "dont" becomes "don't" and the like. Whitespace of any kind (U+2028 too) becomes one space.

  Source: GT-Vision-Lab/VQA, vqaEval.py (processPunctuation, processDigitArticle), with its slips.
  """
  together = _DIGIT_COMMA.search(text) is not None
  cleaned = text
  for mark in _PUNCTUATION:
    beside = f"{mark} " in text or f" {mark}" in text
    cleaned = cleaned.replace(mark, "" if together or beside else " ")
  words = _POINT.sub("", cleaned, count=_POINTS).lower().split()
  words = [_NUMBERS.get(word, word) for word in words]
  return " ".join(_SPELLED.get(word, word) for word in words if word not in _ARTICLES)


def normalize_textvqa(text):
  """An answer as mmf's TextVQA and most code since compares it.

  `normalize` of the lower-case text without any "," or "?" and with a space before each "'s": so
  "1,000" is "1000" and "left-hand, red" is "left hand red".

  Source: facebookresearch/mmf, m4c_evaluators.py (EvalAIAnswerProcessor).
  """
  text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
  return normalize(strip_space(text))
