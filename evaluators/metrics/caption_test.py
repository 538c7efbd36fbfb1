"""Caption metrics against pycocoevalcap 1.2 (its Java tokenizer included), and bad input."""
import json
import math
import pathlib

import pytest

from evaluators.metrics import caption

GOLDEN = pathlib.Path(__file__).parent / "golden" / "caption.json"


@pytest.mark.parametrize("name", ["cider", "bleu", "rouge_l"])
def test_160_images_in_sixteen_languages(name):
  golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
  corpus, each = getattr(caption, name)(golden["candidates"], golden["references"])
  expected_corpus, expected_each = golden[name]
  assert corpus == pytest.approx(expected_corpus, abs=1e-9)
  assert list(each) == list(expected_each) and len(each) == 160
  for i, expected in expected_each.items():
    assert each[i] == pytest.approx(expected, abs=1e-9), i


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


def test_one_image():
  one = {7: "a cat sat down"}, {7: ["a cat sat down"]}
  assert caption.cider(*one) == (0, {7: 0})
  assert caption.bleu(*one)[0] == pytest.approx([1, 1, 1, 1])
  assert caption.rouge_l(*one)[0] == pytest.approx(1)


@pytest.mark.parametrize("text, references, closest", [
    ("a b c d", ["a b", "a b c d e f"], 2),  # equally close: the shorter, so no penalty
    ("a b c d", ["a b c d e"], 5),
])
def test_brevity_penalty_of_bleu(text, references, closest):
  got = caption.bleu({1: text}, {1: references})[0][0]
  assert got == pytest.approx(min(1, math.exp(1 - closest / len(text.split()))), abs=1e-6)


def test_corpus_bleu_pools_the_counts():
  corpus, each = caption.bleu({1: "a cat", 2: "one two three four five six"},
                              {1: ["a cat"], 2: ["x"]})
  assert each[1][0] == pytest.approx(1) and each[2][0] == pytest.approx(0, abs=1e-9)
  assert corpus[0] == pytest.approx(2 / 8)


@pytest.mark.parametrize("text, references, precision, recall", [
    ("a b c d", ["a c d e f"], 3 / 4, 3 / 5),
    ("a b c d", ["b a d c"], 2 / 4, 2 / 4),       # order counts
    ("a b c d", ["a", "a b c d e f"], 1, 1),      # recall of the first, precision of the second
    ("a a a a", ["a"], 1 / 4, 1),                 # a word matches once
])
def test_rouge_l_by_hand(text, references, precision, recall):
  f = 2.44 * precision * recall / (recall + 1.44 * precision)
  assert caption.rouge_l({1: text}, {1: references})[0] == pytest.approx(f)


def test_empty_captions_of_rouge_l():
  assert caption.rouge_l({1: "", 2: "."}, {1: ["a cat"], 2: ["", "a"]})[1] == {1: 0, 2: 1}


def test_a_mixed_fraction_is_one_word_of_rouge_and_two_of_bleu():
  pair = {1: "1 1/2"}, {1: ["1 1/2 cups"]}
  assert caption.rouge_l(*pair)[0] == pytest.approx(2.44 * 1 * (1 / 2) / (1 / 2 + 1.44))
  assert caption.bleu(*pair)[0][1] == pytest.approx(math.exp(1 - 3 / 2), abs=1e-6)


def test_a_line_separator_is_a_space():
  plain = caption.cider(CANDIDATES, REFERENCES)
  odd = {i: text.replace(" ", "\u2028") for i, text in CANDIDATES.items()}
  assert caption.cider(odd, REFERENCES) == plain


def test_all_scores_at_once():
  got = caption.scores(CANDIDATES, REFERENCES, language="en")
  assert list(got) == ["cider", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l"]
  assert got["cider"] == caption.cider(CANDIDATES, REFERENCES)[0]
  assert [got[f"bleu_{n}"] for n in (1, 2, 3, 4)] == caption.bleu(CANDIDATES, REFERENCES)[0]
  assert got["rouge_l"] == caption.rouge_l(CANDIDATES, REFERENCES)[0]


# Two captions of one token each to the stock tokenizer.
CHINESE = ({1: "\u732b\u5728\u684c\u5b50\u4e0a\u3002", 2: "\u4e00\u53ea\u72d7\u5728\u8dd1"},
           {1: ["\u732b\u5728\u684c\u5b50\u4e0b"], 2: ["\u4e00\u53ea\u72d7\u8dd1\u4e86"]})


def test_languages_without_spaces_are_scored_by_character_too():
  got = caption.scores(*CHINESE, language="zh")
  assert got["cider"] == 0 and got["rouge_l"] == 0
  assert got["cider_characters"] == caption.cider(
      *CHINESE, tokenize=caption.character_tokenize)[0] > 1
  assert got["bleu_1_characters"] == pytest.approx((4 + 4) / (6 + 5))  # the full stop is a word
  assert got["rouge_l_characters"] > .5


@pytest.mark.parametrize("text, tokens", [
    ("3 \u732b cats\u3067\u3059\u30028", "3 \u732b cats \u3067 \u3059 \u3002 8"),
    ("\u0e01\u0e33\u0e25\u0e31\u0e07\u0e40\u0e14\u0e34\u0e19",
     "\u0e01 \u0e33 \u0e25\u0e31 \u0e07 \u0e40 \u0e14\u0e34 \u0e19"),
    ("\uace0\uc591\uc774 don't", "\uace0\uc591\uc774 do n't"),  # Korean has spaces
    ("", ""),
])
def test_characters(text, tokens):
  assert " ".join(caption.character_tokenize(text)) == tokens


def test_score_depends_on_the_whole_set():
  pair = {i: CANDIDATES[i] for i in (1, 2)}
  _, alone = caption.cider(pair, {i: REFERENCES[i] for i in pair})
  assert alone[1] != pytest.approx(caption.cider(CANDIDATES, REFERENCES)[1][1])


def test_empty_caption_scores_zero_and_does_not_crash():
  assert caption.cider({1: "", 2: "a dog"}, {1: ["a cat"], 2: ["a dog"]})[1][1] == 0


def test_another_segmenter_can_be_given():
  assert caption.cider(*CHINESE)[0] == 0                # one token per caption: no match
  assert caption.cider(*CHINESE, tokenize=list)[0] > 1


@pytest.mark.parametrize("candidates, references, named", [
    ({}, {}, "the set is empty"),
    ({1: "a", 2: "b"}, {1: ["a"]}, r"1 of 2 predictions are for unknown ids, e.g. \[2\]"),
    ({1: "a"}, {1: ["a"], 3: ["b"]}, r"1 of 2 ids have no prediction, e.g. \[3\]"),
    ({1: "a"}, {"1": ["a"]}, "An id 1 is not an id '1'"),
    ({1: "a", 2: "b"}, {1: ["a"], 2: []}, r"1 ids have an empty list of references, e.g. \[2\]"),
])
@pytest.mark.parametrize("metric", [caption.cider, caption.bleu, caption.rouge_l, caption.scores])
def test_bad_sets(metric, candidates, references, named):
  with pytest.raises(ValueError, match=named):
    metric(candidates, references)


@pytest.mark.parametrize("candidates, references, named", [
    ({1: "a"}, {1: "a cat"}, "'a cat'; give a list"),
    ({1: None}, {1: ["a cat"]}, r"A candidate of id 1 is None \(NoneType\)"),
    ({1: "a"}, {1: ["a", float("nan")]}, r"A reference of id 1 is nan \(float\)"),
])
def test_captions_are_strings(candidates, references, named):
  with pytest.raises(TypeError, match=named):
    caption.bleu(candidates, references)
