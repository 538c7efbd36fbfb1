"""Flickr30k: Karpathy's splits."""


def test_release(release, picture):
  images = [{"filename": f"{i}.jpg", "split": split, "imgid": i,
             "sentences": [{"raw": f"A {split} {n}."} for n in range(5)]}
            for i, split in enumerate(("train", "val", "test"))]
  splits = release("flickr30k", {
      "dataset_flickr30k.json": {"images": images, "dataset": "flickr30k"},
      **{f"flickr30k-images/{i}.jpg": picture(i) for i in range(3)}})
  for i, (split, (example,)) in enumerate(splits.items()):
    assert example["image/id"] == str(i) and example["image"] == picture(i)
    assert list(example["captions"]) == [f"A {split} {n}." for n in range(5)]
