"""ActivityNet Captions and ActivityNet-QA, laid out as the official files are."""
VIDEOS = {"videos/v_QOlSCBRmfWY.mp4": b"mp4", "videos/v__1vYKA7mNLI.mkv": b"mkv"}


def test_segments(release):
  video = {"duration": 82.73, "timestamps": [[0.83, 19.86], [17.37, 60.81]],
           "sentences": [" A woman dances.", "She bows. "]}
  splits = release("activitynet/cap", VIDEOS | {
      "train.json": {"v_QOlSCBRmfWY": video, "v_gone": video},
      "val_1.json": {"v__1vYKA7mNLI": video}, "val_2.json": {"v__1vYKA7mNLI": {
          "duration": 9.0, "timestamps": [[0, 9]], "sentences": ["Someone dances."]}}})
  first, second = sorted(splits["train"], key=lambda e: e["segment_start"])
  assert first["video"] == second["video"] == b"mp4" and first["video_id"] == "v_QOlSCBRmfWY"
  assert (first["segment_id"], second["segment_id"]) == ("v_QOlSCBRmfWY_0", "v_QOlSCBRmfWY_1")
  assert abs(second["segment_start"] - 17.37) < 1e-5 and abs(second["segment_end"] - 60.81) < 1e-5
  assert list(first["captions"]) == ["A woman dances."] and second["captions"][0] == "She bows."
  assert len(splits["valid"]) == 2 and splits["valid"][0]["video"] == b"mkv"
  assert splits["test"][0]["segment_end"] == 9.0


def test_questions(release):
  files = dict(VIDEOS)
  for split in ("train", "val", "test"):
    names = ("_1vYKA7mNLI", "gone")
    files[f"{split}_q.json"] = [{"video_name": name, "question": "is it a man",
                                 "question_id": f"v_{name}_3"} for name in names]
    files[f"{split}_a.json"] = [{"answer": "no", "type": 3, "question_id": f"v_{name}_3"}
                                for name in reversed(names)]
  for examples in release("activitynet/qa", files).values():
    [example] = examples
    assert (example["video"], example["video_id"]) == (b"mkv", "v__1vYKA7mNLI")
    assert example["question_id"] == "v__1vYKA7mNLI_3" and example["answer"] == "no"
    assert (example["question"], example["question_type"]) == ("is it a man", 3)
