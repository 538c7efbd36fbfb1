"""Examples in a list: {"image": ..., "prefix": "caption en", "suffix": "a cat"}, for notebooks.

"image" is a path, encoded bytes, a PIL image, or an array [H, W, 3]: uint8 0..255, or float
[-1, 1], which is rounded to 256 levels. "images" is a list of these. Other fields stay
unchanged.
"""
import numpy as np
from PIL import Image

from big_vlm import image_input


class Memory:
  """Random access to a list or tuple of dicts; errors name the example by its index."""

  def __init__(self, examples):
    if not isinstance(examples, (list, tuple)):
      raise ValueError('Examples are a list of dicts {"image": ..., "prefix": ..., "suffix": ...}, '
                       f"not a {type(examples).__name__}.")
    if not examples:
      raise ValueError("There is no example: the list is empty.")
    for i, example in enumerate(examples):
      if not isinstance(example, dict):
        raise ValueError(f"Example {i} is a {type(example).__name__}, not a dict "
                         '{"image": ..., "prefix": ..., "suffix": ...}.')
      if "image" in example and "images" in example:
        raise ValueError(f"Example {i} has both 'image' and 'images'; keep one.")
      if not isinstance(example.get("images", []), (list, tuple)):
        raise ValueError(f"Example {i}: 'images' is a list of images, not a "
                         f"{type(example['images']).__name__}; one image goes under 'image'.")
      for image in _images(example):
        if isinstance(image, Image.Image):
          _load(i, image)
    self._examples = list(examples)

  def __len__(self):
    return len(self._examples)

  def __getitem__(self, index):
    example = dict(self._examples[index])
    images = [_read(index, image) for image in _images(example)]
    if images:
      example["image"] = images if "images" in example else images[0]
    example.pop("images", None)
    return {**example, "_id": str(index)}

  def fingerprint(self):
    return None


def _images(example):
  return example.get("images", [example["image"]] if "image" in example else [])


def _load(index, image):
  """Reads a PIL image that was opened only: later, two threads could read from its file at once."""
  try:
    image.load()
  except Exception as e:  # Pillow's readers raise many kinds: OSError, SyntaxError, struct.error
    raise ValueError(f"Example {index}: the PIL image cannot be read: {e}") from e


def _read(index, image):
  """uint8 [H, W, 3] of an image as VLM.generate takes it."""
  try:
    image = image_input.read(image)
  except (ValueError, OSError) as e:
    raise type(e)(f"Example {index}: {e}") from e
  if image.dtype != np.uint8:
    image = np.clip(np.round((image + 1) * 127.5), 0, 255).astype(np.uint8)
  return image
