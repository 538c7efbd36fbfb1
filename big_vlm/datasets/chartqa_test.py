"""ChartQA: two configs out of one folder, questions numbered by their place."""
import pytest


@pytest.mark.parametrize("config", ["human", "augmented"])
def test_release(release, picture, config):
  files = {}
  for split in ("train", "val", "test"):
    for kind in ("human", "augmented"):
      files[f"{split}/{split}_{kind}.json"] = [
          {"imgname": f"{i}.png", "query": f"{kind} {i}?", "label": str(i)} for i in range(3)]
    files |= {f"{split}/png/{i}.png": picture(i, "PNG") for i in range(3)}
  splits = release(f"chartqa/{config}", files)
  assert set(splits) == {"train", "val", "test"}
  for example in splits["val"]:
    i = int(example["question_id"])
    assert (example["question"], example["answer"]) == (f"{config} {i}?", str(i))
    assert example["image/filename"] == f"{i}.png" and example["image"] == picture(i, "PNG")
  assert sorted(x["question_id"] for x in splits["train"]) == [0, 1, 2]
