import numpy as np
import pytest

from big_vlm.batch import check_batch

IMAGE = np.zeros((2, 8, 8, 3), np.uint8)
INTS = np.ones((2, 5), np.int32)
TRAIN = {"image": IMAGE, "text": INTS, "mask_ar": INTS, "mask_loss": INTS}
EVAL = {"image": IMAGE, "text": INTS, "mask_ar": INTS, "mask_input": INTS,
        "_mask": np.array([True, False])}


@pytest.mark.parametrize("changes", [
    {}, {"image": IMAGE.astype(np.float32)}, {"image": np.zeros((2, 3, 8, 8, 3), np.uint8)},
    {"image": None}, {"suffix": ["a", "b"]}])
def test_good_batches(changes):
  for batch, train in [(TRAIN, True), (EVAL, False)]:
    batch = {k: v for k, v in (batch | changes).items() if v is not None}
    check_batch(batch, train=train, vocab_size=2)


@pytest.mark.parametrize("batch, train, changes, complaint", [
    (TRAIN, True, {"mask_loss": None}, "'mask_loss' is missing; there are image, mask_ar, text"),
    (TRAIN, False, {}, "'mask_input' is missing; .*; '_mask' is missing"),
    (EVAL, True, {}, "'mask_loss' is missing"),
    (TRAIN, True, {"text": INTS.astype(np.int64)}, "'text' is int64, not int32"),
    (TRAIN, True, {"image": IMAGE.astype(np.float64)}, "'image' is float64, not uint8 or float32"),
    (EVAL, False, {"_mask": np.ones(2, np.int32)}, "'_mask' is int32, not bool"),
    (TRAIN, True, {"text": INTS[0]}, r"'text' has shape \(5,\), not \[B, T\]"),
    (TRAIN, True, {"image": IMAGE[0]}, r"not \[B, H, W, C\] or \[B, F, H, W, C\]"),
    (TRAIN, True, {"image": IMAGE[..., :1]}, "'image' has 1 channels, not 3"),
    (TRAIN, True, {"mask_ar": INTS[:, :4]}, "axis T is 4 in 'mask_ar' but 5 in 'text'"),
    (EVAL, False, {"_mask": np.ones(3, bool)}, "axis B is 3 in '_mask' but 2 in 'image'"),
    (TRAIN, True, {"text": INTS * 300}, "token id 300 does not fit .* vocabulary of 300: .*tokeni"),
])
def test_bad_batches(batch, train, changes, complaint):
  batch = {k: v for k, v in (batch | changes).items() if v is not None}
  with pytest.raises(ValueError, match=complaint):
    check_batch(batch, train=train, vocab_size=300)


def test_all_problems_are_listed_at_once():
  with pytest.raises(ValueError) as error:
    check_batch({"text": INTS.astype(float), "mask_ar": INTS[:1]}, train=True)
  for part in ("'text' is float64", "axis B is 1 in 'mask_ar'", "'mask_loss' is missing"):
    assert part in str(error.value)
