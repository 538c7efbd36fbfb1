"""How many floating-point operations a training step of a model needs, and no more.

6 per weight and token (2 forward, 4 backward: Kaplan et al. 2020, section 2.1), by the tokens that
pass a weight: the tower's by image tokens, the decoder's by all, the head's by text tokens; plus
the two products of attention over all pairs. What is computed anew in the backward pass, and the
optimizer, are not among them: a utilisation by this count is the MFU of PaLM (appendix B).
"""
import math

import jax

from big_vlm import trees
from big_vlm.families import paligemma


def per_example(config, text_len, images=1):
  """FLOPs of one example's training, of a PaliGemmaConfig; text_len tokens go into the decoder."""
  patches = images * config.img.patches if config.img else 0
  seen = images * config.img.tokens if config.img else 0
  total = seen + text_len
  tower, head = _parameters(config, "img/"), _parameters(config, "llm/embedder/")
  decoder = _parameters(config, "llm/") - head if config.llm else 0
  flops = 6 * tower * patches
  if config.img:
    c = config.img
    flops += images * 12 * c.depth * c.width * c.patches**2
  if config.llm:
    c = config.llm
    width = c.heads * getattr(c, "head_dim", c.width // c.heads)
    flops += 6 * (decoder * total + c.vocab_size * c.width * text_len)
    flops += 12 * c.depth * width * total**2
  return flops


def tokens(config, text_len, images=1):
  """Tokens of an example in the decoder."""
  return (images * config.img.tokens if config.img else 0) + text_len


def _parameters(config, prefix):
  shapes = jax.eval_shape(
      lambda: paligemma.init_params(paligemma.PaliGemma(config), jax.random.key(0)))
  return sum(math.prod(x.shape) for n, x in zip(trees.names(shapes), jax.tree.leaves(shapes))
             if n.startswith(prefix))
