"""RSVQA-HR, laid out as the files at Zenodo are."""
import pytest

QUESTIONS = [("comp", "yes"), ("area", "0m2"), ("area", "10m2"), ("area", "11m2"),
             ("area", "1000m2"), ("area", "1001m2"), ("count", "12"), ("presence", "no")]
BINS = ["yes", "0 m2", "between 1 m2 and 10 m2", "between 11 m2 and 100 m2",
        "between 101 m2 and 1000 m2", "more than 1000 m2", "12", "no"]


def layout(picture):
  files = {"Data/7.png": picture(7, "PNG")}
  for split in ("train", "val", "test", "test_phili"):
    active = {"img_id": 7, "active": True}
    files[f"USGS_split_{split}_questions.json"] = {"questions": [{"id": 99, "active": False}] + [
        {**active, "id": n, "type": kind, "question": f"{split} {n}?", "answers_ids": [50 + n]}
        for n, (kind, _) in enumerate(QUESTIONS)]}
    files[f"USGS_split_{split}_answers.json"] = {"answers": [{"id": 98, "active": False}] + [
        {"id": 50 + n, "question_id": n, "active": True, "answer": answer}
        for n, (_, answer) in enumerate(QUESTIONS)]}
  return files


@pytest.mark.parametrize("config, ids", [("all", range(8)), ("nonum", (0, 7))])
def test_release(config, ids, release, picture):
  got = release(f"rsvqa_hr/{config}", layout(picture))
  assert list(got) == ["train", "val", "test", "test_2"]
  examples = {e["question_id"]: e for e in got["test_2"]}
  assert sorted(examples) == list(ids)
  for n, e in examples.items():
    assert (e["question"], e["question_type"]) == (f"test_phili {n}?", QUESTIONS[n][0])
    assert (e["answers"], e["raw_answers"]) == ([BINS[n]], [QUESTIONS[n][1]])
    assert (e["filename"], e["image"]) == ("7.png", picture(7, "PNG"))
