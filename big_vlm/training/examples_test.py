import types

import numpy as np
import pytest

from big_vlm.data import mixture
from big_vlm.families import paligemma
from big_vlm.training import examples, fit
from pp.tokenizer import get_tokenizer

IMAGE = np.zeros((20, 30, 3), np.uint8)
CONFIG = paligemma.config({"variant": "tiny"}, {"variant": "tiny", "vocab_size": 1632})


def row(tokenizer, given):
  """The training row that fit() makes of one example, or of columns."""
  vlm = types.SimpleNamespace(config=CONFIG, tokenizer_name=tokenizer, image_size=16)
  data, ids = fit._data(vlm, given)
  _, text_len, images = fit._survey(vlm, data, ids, None)
  stream = mixture.Mixture([dict(data=data, pp=fit._pp(images, fit.PAD if ids else "text_layout"))],
                           0, context=fit._context(vlm, text_len))
  return {k: v for k, v in stream[0].items() if not k.startswith("_")}


def test_all_forms_are_the_same_row(tokenizer):
  tok = get_tokenizer(tokenizer)
  want = row(tokenizer, [{"image": IMAGE, "prefix": "ocr", "suffix": "3 7"}])
  prompt, answer = tok.to_int("ocr\n", bos=True), tok.to_int("3 7", eos=True)
  ids, n = prompt + answer, len(prompt)
  labels = [-100] * n + answer
  forms = [
      {"images": [IMAGE], "prompts": ["ocr"], "responses": ["3 7"]},
      [{"image": IMAGE, "tokens": ids, "labels": labels}],
      [{"image": IMAGE, "tokens": ids[:-1], "targets": labels[1:]}],
      [{"image": IMAGE, "tokens": ids[:-1], "targets": ids[1:], "weights": [0] * (n - 1) + [1.] *
        len(answer)}],
      [{"image": IMAGE, "tokens": ids, "targets": [*ids[1:], 0], "weights": [0] * (n - 1) + [1] *
        len(answer) + [0]}]]
  assert want["mask_loss"].sum() == len(answer) and want["mask_ar"][:n].sum() == 0
  for form in forms:
    got = row(tokenizer, form)
    assert got.keys() == want.keys()
    for key in want:
      np.testing.assert_array_equal(got[key], want[key], err_msg=key)


def test_ids_need_no_tokenizer_and_text_alone_is_causal(tokenizer):
  got = row(None, [{"tokens": [2, 5, 6], "labels": [-100, 5, 6]}])
  assert got["text"].shape == (17,) and got["mask_loss"].tolist()[:4] == [0, 1, 1, 0]
  assert examples.from_ids({"tokens": [2, 5], "labels": [2, 5]}, 9, False)["mask_ar"].tolist() == [
      1, 1]


@pytest.mark.parametrize("given,message", [
    (dict(tokens=[2, 5], labels=[2, 5], weights=[1, 1]), "needs 'targets' and maybe 'weights', or"),
    (dict(tokens=[2, 5]), "needs 'targets'"),
    (dict(tokens=[2, 5], label=[2, 5]), "has no 'label'. Did you mean 'labels'"),
    (dict(tokens=[2, 5, 6], targets=[5, 6]), r"'targets' has the shape \[2\], 'tokens' \[3\]"),
    (dict(tokens=[[2, 5]], labels=[[2, 5]]), r"shape \[1, 2\]"),
    (dict(tokens=[2, 5, 6], targets=[5, 7, 1]), "target 1 is 7, but the token after token 1 is 6"),
    (dict(tokens=[2, 5, 6], targets=[-100, 5, 6]), "target 1 is 5.* labels are not"),
    (dict(tokens=[2, 5], targets=[5, 1], weights=[0.5, 1]), "weights are 0 or 1"),
    (dict(tokens=[2, 5], labels=[-100, -100]), "at least one of them 1"),
    (dict(tokens=[2, 99], labels=[2, 99]), "the id 99 is not in the vocabulary of 9; placeholders"),
])
def test_ids_that_are_not_understood(given, message):
  with pytest.raises(ValueError, match=message):
    examples.from_ids(given, 9, True)


@pytest.mark.parametrize("given,message", [
    ([{"tokens": [2, 5], "labels": [2, 5]}, {"prefix": "a", "suffix": "b"}], "not both"),
    ([{"tokens": [2, 5], "labels": [2, 5]}, {"tokens": [2], "labels": [5]}], "Example 1: weights"),
    ({"images": [IMAGE], "prompts": ["a"]}, "needs 'responses'"),
    ({"prompts": ["a", "b"], "responses": ["c"]}, "differ in length"),
    ({"prompts": ["a"], "response": ["c"]}, "Did you mean 'responses'"),
    ([{"image": IMAGE, "text": "a"}], "'prefix' is missing.*or has token ids"),
    (7, "Examples are a list")])
def test_examples_that_are_not_understood(tokenizer, given, message):
  with pytest.raises(ValueError, match=message):
    row(tokenizer, given)
