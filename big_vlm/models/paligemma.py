"""PaliGemma (arXiv 2407.07726, 2412.03555): a ViT whose tokens, projected, precede the text.

B batch, F frames or images of an example, L tokens of an image, T text, D width, V vocabulary.
"""
import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from big_vlm.models import attention, gemma, vit


@dataclasses.dataclass(frozen=True)
class PaliGemmaConfig:
  img: vit.ViTConfig
  llm: gemma.GemmaConfig


def config(img, llm, dtype="float32"):
  """From two dicts {"variant": row, **changes}; the tower's head gets the decoder's width."""
  llm = gemma.config(**{"dtype": dtype, **llm})
  return PaliGemmaConfig(vit.config(**{"dtype": dtype, "out_width": llm.width, **img}), llm)


class PaliGemma(nn.Module):
  config: PaliGemmaConfig

  def setup(self):
    self.img = vit.ViT(self.config.img)
    self.llm = gemma.Gemma(self.config.llm)

  def embed_image(self, image, train=False):
    """[B, H, W, 3], or [B, F, H, W, 3] for several images -> [B, (F *) L, D]; not scaled."""
    if image.ndim == 4:
      return self.img(image, train)
    x = self.img(image.reshape(-1, *image.shape[2:]), train)
    return x.reshape(image.shape[0], -1, x.shape[-1])

  def embed(self, text, mask_ar, image=None, valid=None, train=False):
    """Embeddings [B, (F *) L + T, D] of image and text, and their attention.Tokens."""
    x = self.llm.embed(text)
    valid = jnp.ones(text.shape, bool) if valid is None else valid.astype(bool)
    if image is not None:
      image = self.embed_image(image, train).astype(x.dtype)
      x = jnp.concatenate([image, x], axis=1)
      extra = ((0, 0), (image.shape[1], 0))
      mask_ar, valid = jnp.pad(mask_ar, extra), jnp.pad(valid, extra, constant_values=True)
    return x, attention.prefix_lm(mask_ar, valid)

  def __call__(self, text, mask_ar, image=None, valid=None, train=False):
    """int32 text and mask_ar [B, T] (+ image) -> hidden states at the text positions [B, T, D]."""
    x, tokens = self.embed(text, mask_ar, image, valid, train)
    hidden, _ = self.llm(x, tokens, train=train)
    return hidden[:, -text.shape[1]:]

  def logits(self, hidden):
    """[..., D] -> float32 [..., V]."""
    return self.llm.logits(hidden)

  def prefill(self, text, mask_ar, image=None, valid=None, *, max_new_tokens, cache_dtype):
    """Reads the prompts. Returns (logits of the token after each prompt [B, V], KVCache)."""
    x, tokens = self.embed(text, mask_ar, image, valid)
    cache = self.llm.empty_cache(x.shape[0], x.shape[1] + max_new_tokens, cache_dtype)
    hidden, cache = self.llm(x, tokens, cache)
    last = jnp.argmax(jnp.where(tokens.valid, tokens.position, -1), axis=1)
    return self.llm.logits(jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]), cache

  def extend(self, text, cache):
    """One token per row, int32 [B] -> (logits of the one after it [B, V], KVCache)."""
    position = jnp.max(jnp.where(cache.tokens.valid, cache.tokens.position, -1), axis=1) + 1
    block = jnp.max(cache.tokens.block, axis=1) + 1
    tokens = attention.Tokens(position[:, None], block[:, None], jnp.ones((len(text), 1), bool))
    hidden, cache = self.llm(self.llm.embed(text[:, None]), tokens, cache)
    return self.llm.logits(hidden[:, 0]), cache
