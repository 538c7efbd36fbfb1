"""RadGraph F1: the package's numbers, the reader passed in, empty reports, bad input."""
import json
import pathlib

import pytest

from evaluators.metrics import reports

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden/reports.json").read_text())["cases"]


def read(texts):
  """A reader to pass in: each word an entity, which modifies the next."""
  found = []
  for text in texts:
    words = text.split()
    found.append({"entities": {str(i): {
        "tokens": word, "label": "Observation",
        "relations": [["modify", str(i + 1)]] if i + 1 < len(words) else []}
        for i, word in enumerate(words)}})
  return found


def test_equals_the_radgraph_package():
  assert len(GOLDEN) >= 50
  for said, right, *scores in GOLDEN:
    assert list(reports.radgraph_score(said, right).values()) == pytest.approx(scores, abs=1e-9)


def test_three_levels():
  figures, each = reports.radgraph_f1(
      ["small effusion", "clear"], ["small left effusion", "clear"], read)
  assert each[0] == pytest.approx({"radgraph_entity_f1": 0.8, "radgraph_f1": 0.8,
                                   "radgraph_complete_f1": 0.4})
  assert each[1] == dict.fromkeys(each[0], 1)
  assert figures == pytest.approx({k: (v + 1) / 2 for k, v in each[0].items()})


def test_an_empty_report_scores_nothing_and_is_not_read():
  asked = []
  figures, each = reports.radgraph_f1(
      ["", "clear", "clear", ""], ["clear", "", "clear", ""],
      lambda texts: asked.extend(texts) or read(texts))
  assert [score["radgraph_f1"] for score in each] == [0, 0, 1, 0] and asked == ["clear"]
  assert figures["radgraph_f1"] == 0.25
  assert reports.radgraph_f1([""], [""], None)[0]["radgraph_f1"] == 0


def test_a_reader_may_answer_in_a_dict_by_number():
  numbered = lambda texts: {str(i): a for i, a in enumerate(read(texts))}
  assert reports.radgraph_f1(["clear"], ["clear"], numbered)[0]["radgraph_f1"] == 1


@pytest.mark.parametrize("predictions, references, annotate, match", [
    ([], [], read, "the set is empty"),
    (["a"], ["a", "b"], read, "1 predictions, 2 references"),
    (["a"], ["b"], lambda texts: read(texts)[:1], "given 2 reports, but gave 1"),
    (["a"], ["b"], lambda texts: [{"text": t} for t in texts], "no 'entities', but .'text'"),
])
def test_bad_input(predictions, references, annotate, match):
  with pytest.raises(ValueError, match=match):
    reports.radgraph_f1(predictions, references, annotate)
