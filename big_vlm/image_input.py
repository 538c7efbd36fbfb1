"""Images as users give them, as pixels: which goes with which prompt, and how each is read."""
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from big_vlm import files
from pp import ops_image


def check_seen(images, image_size):
  """Raises ValueError where a model that sees is asked without an image; [None] is on purpose."""
  if images is None and image_size:
    raise ValueError("This model answers about images and there is none: give images, or "
                     "images=[None] * len(prompts) for text alone.")


def by_prompt(images, count):
  """[[image, ...]] of each of `count` prompts, from what generate() takes as images.

  One image is for all prompts; a list, an iterator or a batch array has one entry for each: an
  image, a list of several, or None. An iterator gives an iterator, which reads no further than it
  is read. Raises ValueError where the numbers differ.
  """
  if isinstance(images, np.ndarray) or hasattr(images, "__array__") and not isinstance(
      images, Image.Image):
    images = np.asarray(images)
    if images.ndim > 3:  # [B, H, W, 3] or [B, F, H, W, 3]
      images = [list(x) if x.ndim > 3 else x for x in images]
  if hasattr(images, "__next__"):
    return _drawn(images, count)
  if not isinstance(images, (list, tuple)):
    images = [images] * count
  if len(images) != count:
    raise ValueError(f"There are {count} prompts and {len(images)} images: give one image for all, "
                     "or a list with one for each. Several images of one prompt are a list in that "
                     "list: [[first, second]].")
  return [_group(x) for x in images]


def _group(entry):
  return list(entry) if isinstance(entry, (list, tuple)) else [] if entry is None else [entry]


def _drawn(images, count):
  for i in range(count):
    try:
      yield _group(next(images))
    except StopIteration:
      raise ValueError(f"There are {count} prompts and {i} images: give one for each.") from None


def _resize(method, antialias, as_float=False):
  def resize(image, size):
    if as_float and image.dtype == np.uint8:
      image = image.astype(np.float32) / 127.5 - 1
    return ops_image.resize_image(image, size, method, antialias)
  return resize


def _pil(filter):
  def resize(image, size):
    if image.shape[:2] == tuple(size):
      return image
    if image.dtype != np.uint8:
      raise ValueError("Pillow resizes uint8 images, and this one is float: give uint8, another "
                       f"resize, or {size[0]} x {size[1]} pixels.")
    return np.asarray(Image.fromarray(image).resize(size[::-1], filter))
  return resize


# How an image [H, W, 3] gets the size (height, width), its aspect ratio not kept: uint8 stays uint8
# where the reference rounds, else it becomes float in [-1, 1].
RESIZES = {
    "antialias": _resize("bilinear", True),  # PaliGemma
    "big_vision": _resize("bilinear", False),  # SigLIP in big_vision
    "naflex": _resize("bilinear", True, as_float=True),  # NaFlex in big_vision
    "pil_bilinear": _pil(Image.Resampling.BILINEAR),  # SigLIP 2 and NaFlex in transformers
    "pil_bicubic": _pil(Image.Resampling.BICUBIC),  # SigLIP and MedSigLIP in transformers
    "keras_hub": _resize("bicubic", True, as_float=True),  # SigLIP in KerasHub
}


def pixels(image, size, resize="antialias"):
  """An image as [size, size, 3], squashed; resize: a row of RESIZES, by default as PaliGemma was
  trained."""
  return RESIZES[resize](read(image), (size, size))


def tensor(images, image_size):
  """jax.Array of a batch of images [B, H, W, 3] or [B, F, H, W, 3]; ValueError for others, and for
  a text-only model, whose image_size is None."""
  if image_size is None:
    raise ValueError("This model has no image tower: leave the images out.")
  if np.ndim(images) not in (4, 5):
    raise ValueError(f"images are [B, H, W, 3] or [B, F, H, W, 3], not {list(np.shape(images))}.")
  images = jnp.asarray(images)
  if not isinstance(images, jax.core.Tracer) and jnp.issubdtype(images.dtype, jnp.floating):
    check_range(images)
  return images


def read(image):
  """uint8 or float32 [H, W, 3] of a path, encoded bytes, a PIL image, or an array [H, W, 3]: uint8
  0..255, or float in [-1, 1]. Pictures are turned upright as their EXIF says.

  Raises ValueError or OSError, which name what is wrong.
  """
  if isinstance(image, (str, os.PathLike)):
    if re.match(r"[a-z][a-z0-9+]*://", str(image)):
      raise ValueError(f"The image {image} is a URL, and images are not fetched: download it, and "
                       "give the path or the bytes.")
    try:
      with files.open_regular(image) as file:
        image = file.read()
    except (OSError, ValueError) as e:  # ValueError: a null byte
      raise OSError(f"Cannot read the image {str(image)[:200]}: "
                    f"{getattr(e, 'strerror', None) or e}. Prompts come first, then the images; "
                    "an image is one file.") from e
  elif hasattr(image, "__array__") and not isinstance(image, Image.Image):
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
      raise ValueError(f"An image array is [H, W, 3], not {list(image.shape)}; a batch of them is "
                       "[B, H, W, 3], one for each prompt.")
  if isinstance(image, np.ndarray) and image.dtype.kind == "f":
    check_range(image)
    return np.broadcast_to(image[..., :3], (*image.shape[:2], 3)).astype(np.float32)
  return ops_image.decode_image(image, exif=True)


def check_range(image):
  """Raises ValueError unless a float image is in [-1, 1], and if it looks as if it were in [0, 1].

  A picture of which no pixel is below 0 would have nothing darker than middle grey, so it is taken
  for one in [0, 1] that was not converted. A blank one may have any value.
  """
  low, high = image.min(), image.max()
  if not (low >= -1.001 and high <= 1.001):  # NaN too
    raise ValueError(f"A float image has values in [-1, 1], not {low:.3g}..{high:.3g}: give "
                     "uint8 0..255, or divide by 127.5 and take 1 off.")
  if 0 <= low < high:
    raise ValueError(f"A float image has values in [-1, 1], and this one has {low:.3g}..{high:.3g},"
                     " nothing below 0. If it is in 0..1, give x * 2 - 1; if it is in [-1, 1] and "
                     "really so light, give uint8: (x * 127.5 + 127.5).round().astype('uint8').")


def size(image):
  """(height, width) of an image as pixels() takes it; ValueError or OSError if it is none."""
  return read(image).shape[:2]
