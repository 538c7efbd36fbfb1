import pathlib

import numpy as np
import pytest

from pp.builder import get_preprocess_fn, random_ops
from pp.context import Context
from pp.tokenizer import get_tokenizer

GEMMA = pathlib.Path(__file__).parent.parent / "tests/golden/tokenizers/gemma/tokenizer.model"
TOKENIZER = f"sp('{GEMMA}')"
EOS = get_tokenizer(TOKENIZER).eos_token
IMAGE = np.zeros((4, 4, 3), np.uint8)


def pair(text, pp="pair_layout", length=12, pad_token=0, **more):
  context = Context(TOKENIZER, length, pad_token=pad_token)
  return get_preprocess_fn(pp, context)({"_id": "x:7", "image": IMAGE, "text": text, **more})


@pytest.mark.parametrize("pad_token", [0, EOS])
def test_pieces_eos_and_padding(pad_token):
  """SigLIP pads with the eos, SigLIP 2 with 0."""
  made = pair("A cat", pad_token=pad_token, other=1)
  ids = get_tokenizer(TOKENIZER).to_int("a cat")
  np.testing.assert_array_equal(made["text"], [*ids, EOS, *[pad_token] * (11 - len(ids))])
  assert made["text"].dtype == np.int32 and not made["_cut"]
  assert set(made) == {"_id", "image", "text", "_cut"}


def test_a_longer_text_is_cut_before_its_eos():
  whole = get_tokenizer(TOKENIZER).to_int("one two three four five six")
  made = pair("one two three four five six", length=5)
  np.testing.assert_array_equal(made["text"], [*whole[:4], EOS])
  assert made["_cut"]


def test_how_it_is_spelled():
  same = lambda a, b: np.testing.assert_array_equal(a["text"], b["text"])
  same(pair(b"A CAT \xc3\x89"), pair("a cat É", "pair_layout(spelling='as_is')"))
  same(pair("A cat, É.", "pair_layout(spelling='canonical')"), pair("a cat é"))


def test_of_several_texts_one():
  texts = ["a", "b", "c"]
  drawn = [pair(texts, "pair_layout(several='draw')", _rng=np.random.default_rng(i))["text"][0]
           for i in range(20)]
  assert set(drawn) == {pair(t)["text"][0] for t in texts}
  assert pair(texts, "pair_layout(several='first')")["text"][0] == pair("a")["text"][0]
  assert random_ops("pair_layout(several='draw')") and not random_ops("pair_layout")


@pytest.mark.parametrize("example, complaint", [
    ({"text": "a"}, "example x:7: the example has no image: two towers learn from pairs"),
    ({"image": IMAGE}, "the example has no 'text'.*it has image$"),
    ({"image": IMAGE, "text": None}, "the example has no 'text'.*it has image$"),
    ({"image": IMAGE, "text": " "}, "the text 'text' is empty"),
    ({"image": IMAGE, "text": ["a", "b"]}, "is a list of 2 texts: several='draw' takes one"),
    ({"image": IMAGE, "text": []}, "'text' is an empty list"),
])
def test_what_is_no_pair(example, complaint):
  preprocess = get_preprocess_fn("pair_layout", Context(TOKENIZER, 12, pad_token=0))
  with pytest.raises(ValueError, match=f"(?s){complaint}"):
    preprocess({"_id": "x:7", **example})
