"""Damage in a file without checksums, such as .safetensors or .h5: it shows where a byte that was
changed makes a weight absurdly large, and not where it makes a small difference."""
import dataclasses

import jax.numpy as jnp
import numpy as np

from big_vlm.formats.lazy_array import LazyArray

LARGEST = 1e4  # of a magnitude that nobody doubts: beyond it is a warning, not an error
CHUNK = 1 << 22  # elements that are looked at together: what they take beside the leaf itself


def watched(opened):
  """The Checkpoint, whose leaves are looked at when they are read: the first with values that are
  not finite or beyond LARGEST is printed. An array takes one pass over its bits."""
  said = []

  def watch(name, leaf):
    def read(index=()):
      found = leaf.read(index)
      if not said and is_absurd(found):
        said.append(name)
        print(f"warning: {opened.path}: {name} has values that are not finite or beyond "
              f"{LARGEST:,.0f}. The file may be damaged: compare its checksum, or fetch it anew.",
              flush=True)
      return found
    return LazyArray(leaf.shape, leaf.dtype, read)
  return dataclasses.replace(opened, leaves={n: watch(n, x) for n, x in opened.leaves.items()})


def is_absurd(x):
  """Whether an array of floats, numpy's or ml_dtypes', has values that are not finite or beyond
  LARGEST."""
  if not jnp.issubdtype(x.dtype, jnp.floating) or x.dtype.itemsize not in (2, 4, 8):
    return False
  if x.dtype.byteorder == ">":
    x = x.astype(x.dtype.newbyteorder("="))
  bits = np.dtype(f"u{x.dtype.itemsize}")  # without the sign they are in the order of magnitudes
  doubled = lambda x: x.view(bits) << bits.type(1)
  most, flat = doubled(np.array(LARGEST, x.dtype)), np.asarray(x).ravel(order="K")
  return any((doubled(flat[i:i + CHUNK]) > most).any() for i in range(0, flat.size, CHUNK))
