"""ImageNet: folders of classes, numbered in alphabetical order."""


def test_release(release, picture):
  files = {f"{split}/{wnid}/{wnid}_{i}.{end}": picture(i)
           for split in ("train", "val") for i, wnid in enumerate(("n02", "n01"))
           for end in ("JPEG", "jpg")}
  splits = release("imagenet", {**files, "val/n01/list.txt": "not an image"})
  assert list(splits) == ["train", "val"] and len(splits["val"]) == 4
  for example in splits["val"]:
    assert (example["class"], int(example["label"])) in (("n02", 1), ("n01", 0))
    assert example["image"] == picture(1 - int(example["label"]))
    assert example["image/filename"].startswith(f"val/{example['class']}/")
