"""Where each token of an answer looks on the image.

N layers, H heads, P patches of the image in rows of G, T text positions.
"""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import inputs
from big_vlm.families import paligemma


def attention_map(vlm, prompt, image, generation, layer=None):
  """float32 [tokens, G, G]: how much each token of a Generation looks at each patch, summing to 1.

  Of the position that predicts the token: the decoder's attention probabilities on the patches,
  the mean of its heads and layers, or of one layer (0..N-1, or from the end: -1). Patch rows are
  from top to bottom; the model saw the image squashed to a square.
  prompt, image: what generation is the answer to. The probabilities of all layers are in memory at
  once: N H (P + T)^2 floats, 0.7 GB for PaliGemma 3B at 448 pixels.
  Raises ValueError for a model without an image tower and for a layer that does not exist.
  """
  if not vlm.config.img:
    raise ValueError(f"{vlm.source} has no image tower: there is no image to look at.")
  grid, depth = vlm.config.img.image_size // vlm.config.img.patch, vlm.config.llm.depth
  if layer is not None and not -depth <= layer < depth:
    raise ValueError(f"attention_map() got layer {layer}; the decoder has 0..{depth - 1}.")
  ids = inputs.ids(prompt, vlm.tokenizer, "\n")
  text, mask_ar, valid = _row(ids, generation.tokens[:-1])
  pixels = inputs.pixels(image, vlm.image_size)[None]
  weights = np.full(depth, 1 / depth, np.float32) if layer is None else np.eye(depth)[layer]
  rows = _rows(vlm.model, vlm.params, text, mask_ar, pixels, valid, weights.astype(np.float32))
  rows = np.asarray(rows)[len(ids) - 1:][:len(generation.tokens)]
  rows = rows / np.maximum(rows.sum(-1, keepdims=True), 1e-30)
  return rows.reshape(len(rows), grid, grid)


def _row(prompt, answer):
  """text, mask_ar and valid, int32 [1, T]: the prompt sees itself, the answer is causal."""
  count = len(prompt) + len(answer)
  position = np.arange(inputs.bucket(max(count, 16)))[None]
  text = np.zeros(position.shape, np.int32)
  text[0, :count] = [*prompt, *answer]
  return text, (position >= len(prompt)).astype(np.int32), (position < count).astype(np.int32)


@functools.partial(jax.jit, static_argnames="model")
def _rows(model, params, text, mask_ar, image, valid, weights):
  """[T, P]: attention of the text positions on the patches, mean of heads, weighted by layer."""
  probs = paligemma.outputs(model, params, text, mask_ar, image, valid)["attention"]
  patches = probs.shape[-1] - text.shape[1]
  return jnp.einsum("N,NHTP->TP", weights, probs[:, 0, :, patches:, :patches]) / probs.shape[2]
