"""MSVD-QA, laid out as the official files are: questions name clips by number."""


def test_release(release):
  files = {"youtube_mapping.txt": "-4wsuPCjDBc_5_15 vid1\n-7KMZQEsJW4_205_208 vid1201\ngone vid2\n",
           "YouTubeClips/-4wsuPCjDBc_5_15.avi": b"RIFF 1",
           "YouTubeClips/-7KMZQEsJW4_205_208.avi": b"RIFF 1201"}
  for split, videos in (("train", (1, 2)), ("val", (1201,)), ("test", (1201, 1))):
    files[f"{split}_qa.json"] = [{"answer": "someone", "id": i, "question": f"who is in {video}?",
                                  "video_id": video} for i, video in enumerate(videos)]
  splits = release("msvd_qa", files)
  [example] = splits["train"]  # the clip of the second question is gone
  assert (example["video"], example["video_id"]) == (b"RIFF 1", "-4wsuPCjDBc_5_15")
  assert (example["question_id"], example["question"]) == (0, "who is in 1?")
  assert example["answer"] == "someone"
  assert splits["valid"][0]["video"] == b"RIFF 1201"
  assert {e["video"] for e in splits["test"]} == {b"RIFF 1", b"RIFF 1201"}
