import pathlib

import numpy as np
import pytest

from pp.builder import get_preprocess_fn, image_count
from pp.context import Context

MODEL = pathlib.Path(__file__).parent.parent / "tests/golden/tokenizers/gemma/tokenizer.model"
TOKENIZER = f"sp('{MODEL}', tokensets=('loc', 'seg'))"
CONTEXT = Context(TOKENIZER, text_len=20, image_size=16)
EXAMPLE = {"image": np.zeros((40, 30, 3), np.uint8), "prefix": "ocr", "suffix": "7", "_id": "x:0"}
TOK = "tok(key='prefix')|copy('prefix', 'text')|"


@pytest.mark.parametrize("pp, shape", [
    ("resize|text_layout", (16, 16, 3)),
    ("resize(method='area')|text_layout", (16, 16, 3)),
    ("resize(99)|central_crop(16)|text_layout", (16, 16, 3)),  # the last size counts
    ("resize(99)|resize|text_layout", (16, 16, 3)),
    ("copy('image', 'big')|resize(99, key='big')|resize|text_layout", (16, 16, 3)),
    ("resize_long|pad_to_shape|text_layout", (16, 16, 3)),
    ("resize|text_layout(text_len=5)", (16, 16, 3)),  # what a string says wins
])
def test_ops_take_the_fields(pp, shape):
  got = get_preprocess_fn(pp, CONTEXT)(EXAMPLE)
  assert got["image"].shape == shape
  assert set(got) == {"image", "text", "mask_ar", "mask_loss", "_id"}
  assert len(got["text"]) == (6 if "text_len=5" in pp else 21)


@pytest.mark.parametrize("pp, complaint", [
    ("resize(32)", r"`resize\(32\)` contradicts config.model.img.image_size, which is 16 here: "
     "images would have 32x32 pixels"),
    ("resize((16, 32))", "images would have 16x32 pixels"),
    ("resize|central_crop(12)", r"`central_crop\(12\)` contradicts"),
    ("pad_to_shape((32, 32, None))", "images would have 32x32"),
    (f"{TOK}tolen(20, pad_value=0, key='text')", "contradicts config.text_len, which is 20 here: "
     "rows would have 20 tokens, not 21"),
    (f"tok(model=\"sp('{MODEL}')\", key='prefix')|text_layout", "contradicts config.tokenizer"),
])
def test_a_string_that_would_change_the_models_input_is_refused(pp, complaint):
  with pytest.raises(ValueError, match=complaint):
    get_preprocess_fn(pp, CONTEXT)


@pytest.mark.parametrize("pp, field", [
    ("resize", "image_size"), ("text_layout(tokenizer='x')", "text_len"),
    ("detect(tokens_each=12)", "text_len"),
    ("text_layout", "tokenizer")])
def test_a_field_that_is_missing_is_named(pp, field):
  with pytest.raises(ValueError, match=f"the config's field {field}"):
    get_preprocess_fn(pp)


@pytest.mark.parametrize("text_len, count", [(24, 2), (12, 1), (5, 1), (600, 9)])
@pytest.mark.parametrize("pp, key, mark", [
    ("detect(tokens_each=12)", "suffix", "dog"),
    ("choice(key='names', tokens_each=12, allow_fewer=True)", "names", "dog")])
def test_how_many_entries_fit_follows_the_field(pp, key, mark, text_len, count):
  example = {"objects/bbox": np.full((9, 4), 0.5), "objects/label": ["dog"] * 9,
             "names": ["dog"] * 9, "_rng": np.random.default_rng(0)}
  got = get_preprocess_fn(pp, Context(text_len=text_len))(example)[key]
  assert got.count(mark) == count


@pytest.mark.parametrize("pp, count", [
    ("", 1), ("decode|resize", 1), ("decode_video(16, stride=30)|resize", 16),
    ("decode_video(stride=9, num_frames=8)", 8), ("stack_images(inkeys=('left', 'right'))", 2)])
def test_images_of_an_example_are_counted(pp, count):
  assert image_count(pp) == count
