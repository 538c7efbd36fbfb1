"""VATEX, laid out as the official files are."""
import pytest


def test_release(release):
  def row(name):
    return {"videoID": name, "enCap": [f"A man {i} in {name}." for i in range(10)],
            "chCap": ["一个男人"] * 10}
  clips = {"train": "-0abc_9-xyZ_000122_000132", "valid": "b_000001_000011",
           "test": "c_000020_000030"}
  files = {f"videos/{name}.mp4": name.encode() for name in clips.values()}
  files |= {"vatex_training_v1.0.json": [row(clips["train"]), row("gone_000000_000010")],
            "vatex_validation_v1.0.json": [row(clips["valid"])],
            "vatex_public_test_english_v1.1.json": [row(clips["test"])]}
  for split, examples in release("vatex", files).items():
    [example] = examples
    assert example["video_id"] == clips[split] and example["video"] == clips[split].encode()
    assert len(example["captions"]) == 10 and example["captions"][3].startswith("A man 3 in ")


def test_no_video_is_there(release):
  with pytest.raises(FileNotFoundError, match="videos/.*, and there are none") as e:
    release("vatex", {"vatex_training_v1.0.json": []})
  assert "vatex_public_test_english_v1.1.json" in str(e.value)
