"""PTB tokens against the Java program: awkward captions, 2,600 golden lines, line breaks."""
import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.metrics import ptb

GOLDEN = pathlib.Path(__file__).parent / "golden" / "ptb.json"

# Expected tokens: pycocoevalcap's PTBTokenizer (Stanford CoreNLP 3.4.1) on these lines.
TOKENS = [
    ("A man riding a wave on top of a surfboard.",
     "a man riding a wave on top of a surfboard"),
    ("Don't you think it's John's? They're; we'd, I'll, you've can't cannot gonna",
     "do n't you think it 's john 's they 're we 'd i 'll you 've ca n't can not gon na"),
    ("it\u2019s don\u2019t the dog\u2019s dogs\u2019 ", "it 's do n't the dog 's dogs"),
    ("a man's dogs' bowls (red) [blue] {green}",
     "a man 's dogs bowls -lrb- red -rrb- -lsb- blue -rsb- -lcb- green -rcb-"),
    ("\"Hello,\" he said. ''Hi'' `` ok \u2018single\u2019 \u201cdouble\u201d",
     "hello he said hi ok single double"),
    ("well-known 5-year-old two-thirds A--B a - b \u2014dash\u2013 em...dots.. . . .",
     "well-known 5-year-old two-thirds a b a b dash em dots"),
    ("$5.00 \u20ac5 \u00a35 \u00bd 1/2 3.5 1,000 10:30 5% #1 & AT&T @home C++ a/b and/or",
     "$ 5.00 $ 5 # 5 1/2 1/2 3.5 1,000 10:30 5 % # 1 & at&t @home c++ a/b and/or"),
    ("Mr. Dr. St. e.g. U.S. O'Brien o'clock 'tis rock'n'roll 1990s '90s",
     "mr. dr. st. e.g. u.s. o'brien o'clock 't is rock 'n' roll 1990s '90s"),
    ("?! !! wow!!! what?? ", "?! !! wow !!! what ??"),
    ("<b>bold</b> <loc0012> a_b", "<b> bold </b> <loc0012> a_b"),
    ("\U0001f600 emoji here \u2026", "emoji here"),
    ("\u4ec0\u4e48\u662f \u732b\u5728\u684c\u5b50\u4e0a\u3002 \u732b\u3067\u3059\u3001\u72ac",
     "\u4ec0\u4e48\u662f \u732b\u5728\u684c\u5b50\u4e0a \u3002 \u732b\u3067\u3059 \u3001 \u72ac"),
    ("\u0926\u094b \u092c\u091a\u094d\u091a\u0947 \u0939\u0948\u0902\u0964",
     "\u0926\u094b \u092c\u091a\u094d\u091a\u0947 \u0939\u0948\u0902 \u0964"),
    ("caf\u00e9 \u00dcber stra\u00dfe", "caf\u00e9 \u00fcber stra\u00dfe"),
    ("", ""),
    (" . , ", ""),
]


@pytest.mark.parametrize("text, expected", TOKENS, ids=[repr(t[:20]) for t, _ in TOKENS])
def test_tokens_are_those_of_the_java_tokenizer(text, expected):
  assert " ".join(ptb.ptb_tokenize(text)) == expected


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_line_breaks_are_spaces(newline):
  assert ptb.ptb_tokenize(f"a cat{newline}sat.") == ["a", "cat", "sat"]


@given(st.text())
def test_any_text_gives_tokens_without_plain_spaces(text):
  for token in ptb.ptb_tokenize(text):
    assert token and token.split(" ") == [token] and token not in ptb.DROPPED


def test_golden_lines_of_the_java_program():
  lines = json.loads(GOLDEN.read_text(encoding="utf-8"))
  different = [(text, ours, tokens) for text, tokens in lines
               if (ours := " ".join(ptb.ptb_tokenize(text))) != tokens]
  assert len(lines) > 2500 and not different


@pytest.mark.parametrize("text, expected", [
    ("1 1/2 cups", "1\xa01/2 cups"),                      # a mixed fraction is one token
    ("call (555) 123-4567", "call -lrb-555-rrb-\xa0123-4567"),
    ("plan b. The dog", "plan b the dog"),                # a sentence ends before "The"
    ("John b. Smith", "john b. smith"),
    ("we're", "we 're"),                                  # as if another caption followed
    ("vitamin c.", "vitamin c."),
    ("f\u00fcr '\u017ft", "f\u00fcr \u017ft"),             # what Unicode calls a small s
    ("\u03a3\u0391\u03a3-\u0391", "\u03c3\u03b1\u03c3-\u03b1"),
    ("a\ud800b", "a b"),                                 # half a surrogate pair vanishes
    ("\U00020000\u4e2d", "\u4e2d"),                       # so do rare Han characters
    ("http://x.y/\U0001f600z", "http://x.y/\U0001f600z"),  # not inside of an address
    ("mail@x.com\u3000", "mail@x.com"),                   # a line is stripped
    ("mail@x.com\u3000 \"", "mail@x.com\u3000"),          # before the quote is dropped
])
def test_rare_cases(text, expected):
  assert " ".join(ptb.ptb_tokenize(text)) == expected


def test_a_long_text_is_read_in_one_go():
  assert ptb.ptb_tokenize("a" * 10_000 + " b") == ["a" * 10_000, "b"]
