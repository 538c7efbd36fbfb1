"""Bringing predictions and references together: order, unknown, missing and double ids."""
import pytest

from evaluators.metrics import ids, vqa


def test_a_submission_is_scored():
  rows = [{"question_id": 2, "answer": "red"}, {"question_id": 1, "answer": "blue"}]
  answers = {1: ["blue"] * 10, 2: ["red"] * 2 + ["blue"] * 8}
  pairs = ids.paired(ids.keyed(rows, "question_id", "answer"), answers)
  assert [i for i, *_ in pairs] == [1, 2]
  assert [vqa.vqa_accuracy(said, refs) for _, said, refs in pairs] == [1, pytest.approx(2 / 3)]


@pytest.mark.parametrize("predictions, references, match", [
    ({1: "a", 7: "b"}, {1: "a"}, r"1 of 2 predictions are for unknown ids, e.g. \[7\]"),
    ({1: "a"}, {1: "a", 2: "b"}, r"1 of 2 ids have no prediction, e.g. \[2\]"),
    ({"1": "a"}, {1: "a"}, "An id 1 is not an id '1'"),
    ({}, {1: "a"}, "no prediction"),
    ({}, {}, "the set is empty"),
])
def test_ids_that_differ(predictions, references, match):
  with pytest.raises(ValueError, match=match):
    ids.paired(predictions, references)


def test_an_id_twice():
  rows = [{"id": 1, "answer": "a"}, {"id": 1, "answer": "b"}]
  with pytest.raises(ValueError, match=r"1 ids come more than once, e.g. \[1\]"):
    ids.keyed(rows, "id", "answer")


def test_a_row_without_the_key():
  with pytest.raises(ValueError, match="1 of 2 rows lack 'id' or 'answer', .* row 1, .*image_id"):
    ids.keyed([{"id": 1, "answer": "a"}, {"image_id": 1, "answer": "a"}], "id", "answer")


def test_rows():
  assert ids.rows(predictions="ab", targets=[1, 2]) == [("a", 1), ("b", 2)]
  with pytest.raises(ValueError, match="There are 2 predictions, 1 targets: give one"):
    ids.rows(predictions="ab", targets=[1])
  with pytest.raises(ValueError, match="0 predictions, 0 targets: the set is empty"):
    ids.rows(predictions=[], targets=[])
