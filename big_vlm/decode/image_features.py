"""What a model sees of images that many requests ask about: each is encoded once."""
import collections
import functools

import jax
import numpy as np

from big_vlm import cpu, inputs, sharding

MOST_BYTES = 256 << 20  # of features that are kept: 128 images of PaliGemma 3B at 224 pixels


@functools.cache
def _encode():
  """(model, params, images [B, H, W, 3]) -> (features of each)."""
  def encode(model, params, images):
    return tuple(model.apply({"params": params}, images, method="embed_image"))
  return jax.jit(encode, static_argnames="model", compiler_options=cpu.lean_options())


def in_groups(items, size):
  """Yields lists of `size` items, and what is left one by one: two sizes of programs."""
  whole = len(items) // size * size
  yield from (items[i:i + size] for i in range(0, whole, size))
  yield from ([item] for item in items[whole:])


class ImageFeatures:
  """Keeps the features of the images that were asked for last."""

  def __init__(self, model, params, mesh, group, most_bytes=MOST_BYTES):
    """group: images that are encoded at once, where so many are new."""
    self._model, self._params, self._mesh, self._group = model, params, mesh, group
    self._kept, self._most = collections.OrderedDict(), most_bytes
    self.encoded = 0  # images so far

  def of(self, images):
    """{digest: features on the device} of images {digest: uint8 or float [H, W, 3]}."""
    new = [digest for digest in images if digest not in self._kept]
    for part in in_groups(new, self._group):
      rows = inputs.round_up(len(part), sharding.batch_rows(self._mesh))
      pixels = inputs.stack_images([images[digest] for digest in part])
      batch = np.resize(pixels, (rows, *pixels.shape[1:]))
      batch = sharding.make_global_array(self._mesh, {"image": batch})["image"]
      self._kept.update(zip(part, _encode()(self._model, self._params, batch)))
    self.encoded += len(new)
    for digest in images:
      self._kept.move_to_end(digest)
    found = {digest: self._kept[digest] for digest in images}
    while len(self._kept) * next(iter(found.values())).nbytes > self._most:
      self._kept.popitem(last=False)
    return found
