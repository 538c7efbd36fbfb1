"""Where each token of an answer looks on the image.

L layers, N heads, P patches of the image in rows of G, T text positions.
"""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import image_input, inputs, prompt_input
from big_vlm.families import paligemma
from pp import text_layout


def attention_map(vlm, prompt, image, generation, layer=None):
  """float32 [tokens, G, G]: how much each token of a Generation looks at each patch, summing to 1.

  Of the position that predicts the token: the decoder's attention probabilities on the patches,
  the mean of its heads and layers, or of one layer (0..L-1, or from the end: -1). Patch rows are
  from top to bottom; the model saw the image squashed to a square.
  prompt, image: what generation is the answer to. The probabilities of all layers are in memory at
  once: L N (P + T)^2 floats, 0.7 GB for PaliGemma 3B at 448 pixels.
  Raises ValueError for a model without an image tower and for a layer that does not exist.
  """
  if inputs.model_limits(vlm.config).image_size is None:
    raise ValueError(f"{vlm.source} has no image tower: there is no image to look at.")
  grid, depth = vlm.config.img.image_size // vlm.config.img.patch, vlm.config.llm.depth
  if layer is not None and not -depth <= layer < depth:
    raise ValueError(f"attention_map() got layer {layer}; the decoder has 0..{depth - 1}.")
  ids = prompt_input.ids(prompt, vlm.tokenizer, images=1)
  answer = generation.tokens[:-1]
  row = text_layout.layout(ids, answer, inputs.bucket(max(len(ids) + len(answer), 16)))
  pixels = image_input.pixels(image, vlm.image_size)
  weights = np.full(depth, 1 / depth) if layer is None else np.eye(depth)[layer]
  rows = _rows(vlm.model, vlm.params, row["text"][None], row["mask_ar"][None], pixels[None],
               weights.astype(np.float32))
  rows = np.asarray(rows)[len(ids) - 1:][:len(generation.tokens)]
  rows = rows / np.maximum(rows.sum(-1, keepdims=True), 1e-30)
  return rows.reshape(len(rows), grid, grid)


@functools.partial(jax.jit, static_argnames="model")
def _rows(model, params, text, mask_ar, image, weights):
  """[T, P]: attention of the text positions on the patches, mean of heads, weighted by layer."""
  probs = paligemma.outputs(model, params, text, mask_ar, image)["attention"]
  patches = probs.shape[-1] - text.shape[1]
  return jnp.einsum("L,LNTP->TP", weights, probs[:, 0, :, patches:, :patches]) / probs.shape[2]
