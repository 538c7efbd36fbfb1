"""Referring segmentation: equal to big_vision's evaluator on 120 drawn cases, rules, bad input."""
import json
import pathlib

import numpy as np
import pytest

from evaluators.metrics import segmentation
from evaluators.metrics.golden.make_segmentation import ellipse, masks

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "segmentation.json").read_text())


def test_equals_big_vision():
  answers = {i: case[3] for i, case in enumerate(GOLDEN["cases"])}
  truths = {i: {"mask": ellipse(case[0], case[1]), "box": case[2]}
            for i, case in enumerate(GOLDEN["cases"])}
  scores, ious = segmentation.referring(answers, truths, masks)
  assert len(ious) == 120
  assert list(ious.values()) == pytest.approx([case[4] for case in GOLDEN["cases"]], abs=1e-9)
  assert 0 < scores.pop("ciou") < 1
  assert scores == pytest.approx(GOLDEN["scores"], abs=1e-9)


FULL, LEFT = np.ones((4, 6), bool), np.zeros((4, 6), bool)
LEFT[:, :3] = True
TRUTH = {"mask": FULL, "box": (0, 0, 1, 1)}
SEGS = "".join(f"<seg{i:03d}>" for i in range(16))
ANSWER = "<loc0000><loc0000><loc1023><loc1023>" + SEGS


@pytest.mark.parametrize("a, b, iou", [
    (FULL, FULL, 1), (LEFT, FULL, .5), (LEFT, ~LEFT, 0), (LEFT * 255, LEFT.astype(float), 1),
    (LEFT * -1., FULL, 0), (~FULL, ~FULL, 1), (~FULL, FULL, 0)])
def test_mask_iou(a, b, iou):
  assert segmentation.mask_iou(a, b) == segmentation.mask_iou(b, a) == iou


def test_mean_and_cumulative_iou_differ():
  """A large object found by half and a small one: (1/2 + 1) / 2 against (12 + 1) / (24 + 1)."""
  small = np.zeros((4, 6), bool)
  small[0, 0] = True
  scores, ious = segmentation.referring(
      {"large": {"mask": LEFT}, "small": {"mask": small, "box": (0, 0, .25, 1)}},
      {"large": TRUTH, "small": {"mask": small, "box": (0, 0, 1 / 4, 1 / 6)}})
  assert ious == {"large": .5, "small": 1}
  assert scores == {"miou": .75, "ciou": 13 / 25, "boxacc/0.5": .5, "boxacc/0.75": 0, "invalid": 0,
                    "total": 2}


@pytest.mark.parametrize("answer, valid", [
    (ANSWER, True), (ANSWER + " cat ; " + ANSWER, True), (ANSWER[:-8], False), ("", False),
    ("x" + ANSWER, False), (" " + ANSWER, False), (SEGS + ANSWER, False),
    (ANSWER.replace("<seg003>", "<seg128>"), False), (ANSWER.replace("1023", "1024"), False),
    ("<loc0500><loc0000><loc0500><loc1023>" + SEGS, False),
    ("<loc0000><loc0900><loc1023><loc0100>" + SEGS, False),
    ("<loc0000><loc0000><loc1023><loc0001>" + SEGS, False),  # 6 / 1023 of a pixel wide
])
def test_what_is_an_answer(answer, valid):
  scores, _ = segmentation.referring({1: answer}, {1: TRUTH}, masks)
  assert scores["invalid"] == (not valid)
  assert (scores["miou"] > 0) == valid


def test_decode_gets_the_codes_in_batches_of_64():
  seen = []
  def decode(codes):
    seen.append(codes.shape)
    return np.where(codes[:, :1, None] == 0, 1, -1) * np.ones((1, 64, 64), np.float32)
  answers = {i: ANSWER if i % 3 else "" for i in range(150)}
  scores, _ = segmentation.referring(answers, {i: TRUTH for i in range(150)}, decode)
  assert scores["miou"] == scores["ciou"] == pytest.approx(2 / 3)
  assert seen == [(42, 16), (43, 16), (15, 16)]


@pytest.mark.parametrize("predictions, truths, named", [
    ({1: ANSWER}, {1: TRUTH}, "Answers need `decode`"),
    ({2: ANSWER}, {1: TRUTH}, "unknown ids"),
    ({}, {1: TRUTH}, "no prediction"),
    ({}, {}, "the set is empty"),
    ({1: {"mask": FULL.T}}, {1: TRUTH}, r"got \(6, 4\) and \(4, 6\)"),
    ({1: {"mask": FULL}}, {1: {**TRUTH, "mask": ~FULL}}, "true mask of 1 is empty"),
    ({1: {"mask": FULL}}, {1: {**TRUTH, "box": (0, 0, 1, float("nan"))}}, "four finite numbers"),
])
def test_bad_input(predictions, truths, named):
  with pytest.raises(ValueError, match=named):
    segmentation.referring(predictions, truths)


@pytest.mark.parametrize("mask", [FULL[0], FULL[None], FULL * float("nan"), "mask.png"])
def test_a_mask_is_numbers_in_two_dimensions(mask):
  for use in (segmentation.bounding_box, lambda mask: segmentation.mask_iou(FULL, mask),
              lambda mask: segmentation.referring({1: {"mask": mask}}, {1: TRUTH})):
    with pytest.raises(ValueError, match=r"mask.* is \[H, W\] numbers"):
      use(mask)
