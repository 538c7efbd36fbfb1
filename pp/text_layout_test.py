import pytest

from pp import text_layout
from pp.builder import get_preprocess_fn
from pp.context import Context
from pp.tokenizer import get_tokenizer

EXAMPLE = {"prefix": "ocr", "suffix": "7 3", "note": 1}
IMAGE = {False: {}, True: {"image": "left alone"}}  # whether the model has a tower


def rows(tokenizer, text_len, keep=(), **fields):
  pp = f"text_layout(keep={keep})" if text_len else f"text_layout(text_len=None, keep={keep})"
  x = get_preprocess_fn(pp, Context(tokenizer, text_len, **fields))(
      EXAMPLE | IMAGE[fields["image"]])
  return {k: v.tolist() if hasattr(v, "tolist") else v for k, v in x.items()}


@pytest.mark.parametrize("image", [True, False])
@pytest.mark.parametrize("text_len", [None, 20])
def test_training(tokenizer, image, text_len):
  tok = get_tokenizer(tokenizer)
  prefix, suffix = tok.to_int("ocr", bos=True), tok.to_int("7 3", eos=True)
  prefix += tok.to_int("\n") * image  # a text-only model has no separator and is causal throughout
  n, m = len(prefix), len(suffix)
  pad = 21 - n - m if text_len else 0
  assert rows(tokenizer, text_len, train=True, image=image) == {
      **IMAGE[image], "text": prefix + suffix + [0] * pad,
      "mask_ar": [0 if image else 1] * n + [1] * m + [1] * pad,
      "mask_loss": [0] * n + [1] * m + [0] * pad}


@pytest.mark.parametrize("image", [True, False])
def test_evaluation(tokenizer, image):
  tok = get_tokenizer(tokenizer)
  prefix = tok.to_int("ocr", bos=True) + tok.to_int("\n") * image
  n, pad = len(prefix), 9 - len(prefix)
  assert rows(tokenizer, 9, train=False, keep=("suffix",), image=image) == {
      **IMAGE[image], "suffix": "7 3", "text": prefix + [0] * pad,
      "mask_ar": [0 if image else 1] * n + [1] * pad, "mask_input": [1] * n + [0] * pad}


@pytest.mark.parametrize("prefix,image,ends", [
    ("ocr", True, "ocr\n"), ("ocr\n", True, "ocr\n"), ("ocr\n\n", True, "ocr\n\n"),
    ("<image><image>ocr\n", True, "ocr\n"), ("<image>ocr", False, "<image>ocr"),
    ("ocr", False, "ocr"), ("ocr\n", False, "ocr\n")])
def test_newlines_at_the_end_and_placeholders_at_the_beginning(tokenizer, prefix, image, ends):
  tok = get_tokenizer(tokenizer)
  assert text_layout.prompt_text(prefix, image) == ends
  assert text_layout.prompt_ids(tok, "ocr\n") == text_layout.prompt_ids(tok, "ocr")
