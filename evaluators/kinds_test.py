"""The kinds of evaluators score rows: what they say of a few hand-made ones."""
import numpy as np
import pytest

from evaluators import caption, common, detection, exact_match
from pp import locations
from pp.tokenizer import get_tokenizer


def row(prediction, suffix, prefix="answer en ?", **kw):
  return dict(prediction=prediction, suffix=suffix, prefix=prefix, **kw)


def test_exact_match():
  rows = [row("3", "3"), row("three", "3"), row("3 ", "3")]
  assert exact_match.score(rows, None) == {"acc": pytest.approx(1 / 3)}
  assert [r["correct"] for r in rows] == [True, False, False]


def test_caption_counts_any_of_several_references():
  rows = [row("a cat", "-", captions=["a dog", "a cat"]), row("two dogs", "two cats"),
          row("one red bird", "one red bird")]
  metrics = caption.score(rows, None)
  assert metrics["exact"] == pytest.approx(2 / 3) and metrics["cider"] > 1
  assert rows[1]["score"] < rows[2]["score"]


BOX, FAR = (0.25, 0.25, 0.75, 0.75), (0., 0., 0.2, 0.2)


def boxes(text, references, **kw):
  return row(text, "", image_size=[32, 32],
             **{"objects/bbox": np.array([b for b, _ in references], np.float32).reshape(-1, 4),
                "objects/label": np.array([label for _, label in references])}, **kw)


@pytest.mark.parametrize("said,there,share,ap50", [
    ([(BOX, "3")], [(BOX, 3)], 1, 1),
    ([(BOX, "4")], [(BOX, 3)], 0, 0),  # right box, wrong digit
    ([(FAR, "3")], [(BOX, 3)], 0, 0),
    ([(BOX, "3"), (FAR, "3")], [(BOX, 3)], 1 / 2, 1),  # AP forgives a worse second box
    ([(BOX, "3"), (BOX, "3")], [(BOX, 3)], 1 / 2, 1),  # one box counts once
    ([], [(BOX, 3)], 0, 0),
])
def test_detection(said, there, share, ap50):
  text = locations.format_objects(*zip(*said)) if said else ""
  rows = [boxes(text, there)]
  metrics = detection.score(rows, None)
  assert metrics["AP50"] == pytest.approx(ap50, abs=1e-6)
  assert rows[0]["score"] == pytest.approx(share)


def test_an_object_scores_the_probability_of_its_tokens(tokenizer):
  tok = get_tokenizer(tokenizer)
  answer = locations.format_objects([BOX, FAR], ["3", "7"])
  ids = tok.to_int(answer, eos=True)
  logprobs = [-0.1 * (";" not in tok.piece(i)) for i in ids]
  found = list(detection.objects(
      {"tokens": ids, "logprobs": logprobs, "prediction": answer}, tok))
  assert [o["label"] for o in found] == ["3", "7"]
  np.testing.assert_allclose([o["box"] for o in found], [BOX, FAR], atol=1e-3)
  tokens_each = [6, 8]  # 4 locations, space, digit; the second with a space and the eos as well
  np.testing.assert_allclose([o["score"] for o in found], np.exp(-0.1 * np.array(tokens_each)))


def test_majority_never_sees_the_rows_own_answer():
  rows = [row("", s, p) for s, p in [("2", "how many?"), ("2", "how many?"), ("1", "how many?"),
                                     ("7", "asked once"), ("2", "how many?")]]
  assert list(common.majority(rows)) == ["2", "2", "2", "2", "2"]
  two = [row("", "a", "x"), row("", "b", "y")]  # all that is left is the other's answer
  assert list(common.majority(two)) == ["b", "a"]
