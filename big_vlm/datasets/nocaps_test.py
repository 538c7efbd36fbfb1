"""nocaps: captions in an order of their own, none in test."""
import pytest


def files_of(picture, captioned=(0, 1, 0)):
  images = [{"id": i, "file_name": f"00{i}.jpg", "coco_url": f"http://x/{i}", "open_images_id": "x",
             "width": 8, "height": 6} for i in range(2)]
  return {
      "nocaps_val_4500_captions.json": {"images": images, "annotations": [
          {"id": n, "image_id": i, "caption": f"caption {n}."} for n, i in enumerate(captioned)]},
      "nocaps_test_image_info.json": {"images": images[:1]},
      "test/000.jpg": picture(2),
      "validation/000.jpg": picture(0), "validation/001.jpg": picture(1)}


def test_release(release, picture):
  splits = release("nocaps", files_of(picture))
  first, second = sorted(splits["val"], key=lambda x: x["image/id"])
  assert list(first["texts"]) == ["caption 0.", "caption 2."]
  assert list(second["texts"]) == ["caption 1."] and second["image"] == picture(1)
  assert (second["image_filepath"], second["url"]) == ("validation/001.jpg", "http://x/1")
  (hidden,) = splits["test"]
  assert list(hidden["texts"]) == ["N/A"] and hidden["image"] == picture(2)


def test_an_image_of_val_without_captions_is_an_error(release, picture):
  with pytest.raises(ValueError, match="nocaps, val.*KeyError: 1"):
    release("nocaps", files_of(picture, captioned=(0, 0)))
