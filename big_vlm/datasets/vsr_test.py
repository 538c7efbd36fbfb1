"""VSR, laid out as the data folder of its repository is."""
import pytest


@pytest.mark.parametrize("config", ["random", "zeroshot"])
def test_release(config, release, picture):
  files = {f"images/{n:012d}.jpg": picture(n) for n in (1, 2)}
  for folder in ("random", "zeroshot"):
    for split in ("train", "dev", "test"):
      files[f"splits/{folder}/{split}.jsonl"] = [
          {"image": f"{n:012d}.jpg", "image_link": "l", "caption": f"{folder} {split} {n}.",
           "label": n - 1, "relation": "near", "annotator_id": 31} for n in (1, 2)]
  got = release(f"vsr/{config}", files)
  assert list(got) == ["train", "dev", "test"]
  examples = {e["id"]: e for e in got["dev"]}
  assert {i: e["label"] for i, e in examples.items()} == {0: "False", 1: "True"}
  assert examples[1]["caption"] == f"{config} dev 2." and examples[1]["image"] == picture(2)
