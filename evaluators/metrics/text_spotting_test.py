"""Text spotting: equal to HierText's evaluator on 80 drawn images, its rules, bad input."""
import json
import pathlib

import pytest

from evaluators.metrics import text_spotting

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "spotting.json").read_text())


def rectangle(x, y, w, h):
  return [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]


def word(polygon, text, legible=True):
  return {"polygon": polygon, "text": text, "legible": legible}


EXIT, NUMBER = word(rectangle(10, 10, 40, 20), "Exit"), word(rectangle(10, 60, 20, 20), "12")
IMAGE = {"id": 1, "height": 100, "width": 100, "words": [EXIT, NUMBER]}


def score(objects, words=IMAGE["words"]):
  return text_spotting.word_scores([{"image_id": 1, "objects": objects}],
                                   [{**IMAGE, "words": words}])


def found(*words):
  return [{"polygon": w["polygon"], "label": w["text"]} for w in words]


def test_equals_hiertext():
  images, predictions = [], []
  for i, ((height, width), words, predicted, counts) in enumerate(GOLDEN["images"]):
    images.append({"id": i, "height": height, "width": width, "words": [word(*w) for w in words]})
    predictions.append({"image_id": i, "objects": [{"polygon": p, "label": t}
                                                   for p, t in predicted]})
    got = text_spotting.word_scores(predictions[-1:], images[-1:])
    assert [got[n] for n in ("predicted", "truth", "found", "read")] == counts
  got = text_spotting.word_scores(predictions, images)
  for ours, theirs in (("precision", "E2E-Precision"), ("recall", "E2E-Recall"),
                       ("f1", "E2E-Fscore"), ("tightness", "E2E-Tightness"), ("pq", "E2E-PQ"),
                       ("detection_precision", "Det-Precision"), ("detection_f1", "Det-Fscore"),
                       ("detection_recall", "Det-Recall")):
    assert got[ours] == pytest.approx(GOLDEN["scores"][theirs], abs=1e-9)
  assert len(images) == 80 and .2 < got["f1"] < got["detection_f1"] < .8


def test_an_answer():
  """102 / 1023 of 100 pixels is 9.97; the second word lies somewhere else."""
  text = "<loc0102><loc0102><loc0307><loc0512> Exit ; <loc0000><loc0000><loc0020><loc0020> 12"
  got = text_spotting.word_scores([{"image_id": 1, "text": text}], [IMAGE])
  assert (got["precision"], got["recall"], got["f1"], got["read"]) == (.5, .5, .5, 1)


@pytest.mark.parametrize("objects, precision, recall, detection", [
    (found(EXIT, NUMBER), 1, 1, 1),
    (found(EXIT), 1, .5, 2 / 3),
    (found({**EXIT, "text": "EXIT"}, NUMBER), .5, .5, 1),  # case counts
    (found({**EXIT, "text": "Exit."}, NUMBER), .5, .5, 1),
    (found(EXIT, EXIT, NUMBER), 2 / 3, 1, .8),  # the first of two equal ones is the best
    (found(word(rectangle(10, 10, 40, 18), "Exit"), word(rectangle(10, 10, 40, 19), "exit")),
     0, 0, .5),  # only the better of the two is matched, and it reads otherwise
    (found(word(rectangle(10, 10, 20, 20), "Exit")), 0, 0, 0),  # IoU 1/2 less HierText's epsilon
    ([{"box": (.1, .1, .3, .5), "label": "Exit"}], 1, .5, 2 / 3),
    ([], 1, 0, 0),
])
def test_rules(objects, precision, recall, detection):
  got = score(objects)
  assert (got["precision"], got["recall"], got["detection_f1"]) == pytest.approx(
      (precision, recall, detection))


def test_words_that_nobody_can_read():
  """A prediction with half of its area in one is left out, less does not excuse it."""
  blur = word(rectangle(50, 50, 40, 20), "", legible=False)
  half, less = word(rectangle(30, 50, 40, 20), "x"), word(rectangle(29, 50, 40, 20), "x")
  more = word(rectangle(31, 50, 40, 20), "x")
  words = [EXIT, blur]
  assert score(found(EXIT, more), words)["precision"] == 1
  assert score(found(EXIT, less), words)["precision"] == .5
  assert score(found(EXIT, half), words)["precision"] == .5  # 1/2 less the epsilon
  assert score(found(EXIT), words)["recall"] == 1


def test_nothing_to_find_and_nothing_found():
  got = text_spotting.word_scores([], [{**IMAGE, "words": []}])
  assert (got["precision"], got["recall"], got["f1"], got["truth"]) == (1, 1, 1, 0)
  assert text_spotting.word_scores([], [IMAGE])["f1"] == 0


@pytest.mark.parametrize("predictions, images, named", [
    ([{"image_id": "1", "text": ""}], [IMAGE], "An id 1 is not an id '1'"),
    ([{"image_id": 1, "text": ""}] * 2, [IMAGE], "Two predictions for image 1"),
    ([{"image_id": 1}], [IMAGE], "needs 'text' or 'objects'"),
    ([], [], "No images"),
    ([], [IMAGE, IMAGE], r"1 ids stand more than once in images, e.g. \[1\]"),
    ([], [{**IMAGE, "words": [word([(0, 0), (1, 1)], "x")]}], "'x' is a list of three or more"),
    ([], [{**IMAGE, "words": [word([(0, 0), (1, 1), (0, float("nan"))], "x")]}], "'x' is .*, not"),
])
def test_bad_input(predictions, images, named):
  with pytest.raises(ValueError, match=named):
    text_spotting.word_scores(predictions, images)
