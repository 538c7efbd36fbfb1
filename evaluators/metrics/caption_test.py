"""PTB tokens and CIDEr-D against values of pycocoevalcap 1.2 (its Java tokenizer included)."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.metrics import caption

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
  assert " ".join(caption.ptb_tokenize(text)) == expected


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_line_breaks_are_spaces(newline):
  assert caption.ptb_tokenize(f"a cat{newline}sat.") == ["a", "cat", "sat"]


@given(st.text())
def test_any_text_gives_words_without_spaces(text):
  for token in caption.ptb_tokenize(text):
    assert token.split() == [token]


CANDIDATES = {
    1: "A man riding a wave on top of a surfboard.",
    2: "Two dogs don't play in the snow",
    3: "a red bus (empty) parked on a city street",
    4: "cat",
    5: "a plate of food on a table a table a table",  # repeats are clipped
    6: "un gato",
}
REFERENCES = {
    1: ["A man rides a wave on a surfboard.", "A surfer riding a wave in the ocean",
        "man on top of a surfboard"],
    2: ["Two dogs playing in the snow.", "A pair of dogs run through snow"],
    3: ["A red double-decker bus parked on a city street.", "A bus (empty) on the street"],
    4: ["cat", "a cat"],
    5: ["A plate of food on a table.",
        "Food on a white plate; a table set for two people in a restaurant"],
    6: ["Un perro en la playa"],
}


def test_cider_equals_pycocoevalcap():
  # PTBTokenizer().tokenize of both, then Cider().compute_score, pycocoevalcap 1.2.
  corpus, scores = caption.cider(CANDIDATES, REFERENCES)
  assert corpus == pytest.approx(2.558009943202687, abs=1e-12)
  assert scores == pytest.approx({1: 3.292342517944211, 2: 1.92149645485587,
                                  3: 4.0081761576827, 4: 2.4764259162455087,
                                  5: 2.9519435524350657, 6: 0.6976750600527643}, abs=1e-12)


def test_ceiling_is_ten_from_four_words_on_and_five_at_two():
  long = {"a": "a cat sat on a mat", "b": "two dogs ran down the hill"}
  assert caption.cider(long, {i: [t] for i, t in long.items()})[0] == pytest.approx(10)
  short = {"a": "red cat", "b": "blue dog"}
  assert caption.cider(short, {i: [t] for i, t in short.items()})[0] == pytest.approx(5)


def test_one_image_scores_zero():
  assert caption.cider({7: "a cat sat down"}, {7: ["a cat sat down"]}) == (0, {7: 0})


def test_score_depends_on_the_whole_set():
  pair = {i: CANDIDATES[i] for i in (1, 2)}
  _, alone = caption.cider(pair, {i: REFERENCES[i] for i in pair})
  assert alone[1] != pytest.approx(caption.cider(CANDIDATES, REFERENCES)[1][1])


def test_empty_caption_scores_zero_and_does_not_crash():
  assert caption.cider({1: "", 2: "a dog"}, {1: ["a cat"], 2: ["a dog"]})[1][1] == 0


def test_another_segmenter_can_be_given():
  texts = {1: "\u732b\u5728\u684c\u5b50\u4e0a", 2: "\u4e00\u53ea\u72d7\u5728\u8dd1"}
  refs = {1: ["\u732b\u5728\u684c\u5b50\u4e0b"], 2: ["\u4e00\u53ea\u72d7\u8dd1\u4e86"]}
  assert caption.cider(texts, refs)[0] == 0                # one token per caption: no match
  assert caption.cider(texts, refs, tokenize=list)[0] > 1  # one token per character


@pytest.mark.parametrize("candidates, references, named", [
    ({}, {}, "0 candidates"),
    ({1: "a", 2: "b"}, {1: ["a"]}, r"1 of 2 candidates have no references, e.g. \[2\]"),
    ({1: "a"}, {1: ["a"], 3: ["b"]}, r"1 of 2 images have no candidate, e.g. \[3\]"),
    ({1: "a"}, {"1": ["a"]}, "An id 1 is not an id '1'"),
    ({1: "a", 2: "b"}, {1: ["a"], 2: []}, r"1 ids have an empty list of references, e.g. \[2\]"),
])
def test_bad_sets(candidates, references, named):
  with pytest.raises(ValueError, match=named):
    caption.cider(candidates, references)


def test_references_as_one_string():
  with pytest.raises(TypeError, match="'a cat'; give a list"):
    caption.cider({1: "a"}, {1: "a cat"})
