"""MSR-VTT and MSRVTT-QA, laid out as the official files are."""
import pytest

FILES = {
    "train_val_videodatainfo.json": {
        "videos": [{"video_id": "video0", "split": "train", "category": 9},
                   {"video_id": "video6513", "split": "validate", "category": 3},
                   {"video_id": "video1", "split": "train", "category": 0}],
        "sentences": [{"video_id": "video0", "caption": "a car", "sen_id": 0},
                      {"video_id": "video6513", "caption": "a cat", "sen_id": 1},
                      {"video_id": "video0", "caption": "a red car", "sen_id": 2}]},
    "test_videodatainfo.json": {
        "videos": [{"video_id": "video7010", "split": "test", "category": 1}],
        "sentences": [{"video_id": "video7010", "caption": "rain", "sen_id": 3}]},
    "TrainValVideo/video0.mp4": b"\x00mp4 0", "TrainValVideo/video6513.mp4": b"\x00mp4 6513",
    "TestVideo/video7010.mp4": b"\x00mp4 7010"}
for _split, _video in (("train", 0), ("val", 6513), ("test", 7010)):
  FILES[f"{_split}_qa.json"] = [{"answer": "car", "category_id": 14, "id": _video,
                                 "question": "what is driving?", "video_id": _video}]


def test_captions_leave_out_videos_that_are_gone(release):
  splits = release("msrvtt/cap", FILES)
  [example] = splits["train"]
  assert example["video"] == b"\x00mp4 0" and example["video_id"] == "video0"
  assert list(example["captions"]) == ["a car", "a red car"]
  assert splits["valid"][0]["video_id"] == "video6513"
  assert splits["test"][0]["video"] == b"\x00mp4 7010"


def test_questions(release):
  splits = release("msrvtt/qa", FILES)
  [example] = splits["valid"]
  assert (example["video"], example["video_id"]) == (b"\x00mp4 6513", "video6513")
  assert (example["question_id"], example["answer"]) == (6513, "car")
  assert splits["test"][0]["video_id"] == "video7010"


def test_gone_videos_need_partial(release):
  with pytest.raises(ValueError, match="6,513 examples in train, .* has 1: .*--allow_incomplete"):
    release("msrvtt/cap", FILES, allow_incomplete=False)
