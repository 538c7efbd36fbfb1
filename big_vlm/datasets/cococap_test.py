"""COCO Captions: Karpathy's splits, three of which lie in the folder of COCO's val."""


def test_release(release, picture):
  images, files = [], {}
  for cocoid, split in enumerate(("train", "restval", "val", "test")):
    folder = "train2014" if split == "train" else "val2014"
    name = f"COCO_{folder}_{cocoid:012d}.jpg"
    images.append({
        "filepath": folder, "filename": name, "split": split, "cocoid": cocoid, "imgid": 7,
        "sentences": [{"raw": f"A {split} {n}.", "tokens": ["a", split]} for n in range(5)]})
    files[f"{folder}/{name}"] = picture(cocoid)
  splits = release("cococap", {"dataset_coco.json": {"images": images, "dataset": "coco"}, **files})
  assert list(splits) == ["train", "restval", "val", "test"]
  for cocoid, (split, (example,)) in enumerate(splits.items()):
    assert example["image/id"] == cocoid and example["image"] == picture(cocoid)
    assert list(example["captions"]) == [f"A {split} {n}." for n in range(5)]
