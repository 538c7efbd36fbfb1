"""Rows survive files and processes: what a kind scores is the same before and after."""
import json

import numpy as np
import pytest

from evaluators import rows as rows_lib
from evaluators.rows import Kept, majority, need, plain, shown, to_image

MASK = np.zeros((90, 80), np.uint8)
MASK[10:40, 20:] = 255


@pytest.mark.parametrize("value, want", [
    (b"caf\xc3\xa9\xe2\x80\xa8", "café\u2028"),
    (np.array(["a", b"bc"], object), ["a", "bc"]),
    ((np.int64(3), np.float32(.5), np.bool_(True), None), [3, .5, True, None]),
    ({"x": [np.array(["é"], object), np.array(2)]}, {"x": [["é"], 2]}),
    (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
    (np.ones((2, 2), np.uint8), [[1, 1], [1, 1]]),
])
def test_plain(value, want):
  got = plain(value)
  assert got == want and json.loads(json.dumps(got)) == got


@pytest.mark.parametrize("mask", [MASK, MASK[..., None], MASK > 0])
def test_images_come_back_from_json(mask):
  text = json.dumps(plain(mask))
  assert len(text) < 1000
  np.testing.assert_array_equal(to_image(json.loads(text)) > 0, MASK > 0)
  np.testing.assert_array_equal(to_image(plain(MASK[::9, ::9])), MASK[::9, ::9])


def test_images_to_look_at():
  frames = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((6, 2, 2, 3), np.uint8)
  assert shown(frames).shape == (2, 8, 3) and shown(frames)[0, ::2, 0].tolist() == [0, 1, 3, 5]
  np.testing.assert_array_equal(shown(np.array([[[-1., 0., 1.]]])), [[[0, 128, 255]]])


def test_needs_are_told_with_the_row_and_a_near_miss():
  with pytest.raises(ValueError, match="scores by 'answers', which the row 7 lacks. Did you mean "
                     r"'answer'\? It has id, answer"):
    need([{"id": 7, "answer": "x"}], ["answers"], "vqa")
  with pytest.raises(ValueError, match="nothing for the kind 'vqa' to score"):
    need([], ["answers"], "vqa")


def test_rows_of_all_processes_each_once():
  assert rows_lib.in_order({3: "b", 2: "a"}, [2, 3]) == ["a", "b"]
  with pytest.raises(AssertionError):
    rows_lib.in_order({3: "b"}, [2, 3])


def test_kept_rows(tmp_path):
  path, made = tmp_path / "a" / "ocr.jsonl", [{"id": 1, "text": "\u2028é"}, {"id": 2}]
  kept = Kept(path, "k")
  kept.add([{**made[0], "image": MASK}])
  kept.add(made[1:])
  assert Kept(path, "k").rows == made
  path.write_text(path.read_text()[:-3])  # killed while it wrote
  assert Kept(path, "k").rows == made[:1] and Kept(path, "k").rows == made[:1]
  assert Kept(path, "other").rows == [] and Kept(path, "k").rows == []


def test_majority_never_sees_the_rows_own_answer():
  def asked(*pairs):
    return [dict(suffix=s, prefix=p) for s, p in pairs]
  rows = asked(("2", "how many?"), ("2", "how many?"), ("1", "how many?"), ("7", "asked once"),
               ("2", "how many?"))
  assert list(majority(rows)) == ["2", "2", "2", "2", "2"]
  two = asked(("a", "x"), ("b", "y"))  # all that is left is the other's answer
  assert list(majority(two)) == ["b", "a"]
  assert list(majority(asked(("", "x"), ("", "x"), ("c", "y")))) == ["", "", ""]
  assert list(majority(asked(("a", "x")))) == ["a"]  # there is no other
