"""How many floating-point operations a training step of a model requires, and a prefill.

6 per weight and token (2 forward, 4 backward: Kaplan et al. 2020, section 2.1), by the tokens that
pass a weight: the tower's by patches, the decoder's by all tokens, the head's by text tokens; plus
the two matmuls of attention over all pairs. Two towers add those of a vector with the batch's
others. A weight that does not train has no gradient of its own: 4 of 6; where nothing goes back
through it either, 2. That is told by part of the model: where any of its weights train, all count
as such. Rematerialization, adapters and the optimizer are left out: a utilization by this count is
the MFU of PaLM (appendix B).
"""
from big_vlm import families
from big_vlm.families import spec

LOOKED_UP = {"embedding", "table", "position"}  # roles of tables


def per_example(config, text_len, images=1, pairs=0, per_weight=None):
  """FLOPs of training on one example, of a PaliGemmaConfig; text_len tokens enter the decoder.

  pairs: of two towers, texts with which an image is compared. per_weight: optim.weight_flops() of
  what trains; None: all does.
  """
  flops, each = 0, dict.fromkeys(config.parts, 6) | (per_weight or {})
  attention = {prefix: 12 if n > 2 else 4 for prefix, n in each.items()}
  if c := config.img:
    patches = images * c.patches
    flops += each["img/"] * spec.count(families.of(c), c) * patches
    flops += attention["img/"] * c.depth * c.heads * c.head_dim * patches * c.patches
  if c := config.txt:
    flops += each["txt/"] * spec.count(families.of(c), c, spec.ROLES.keys() - LOOKED_UP) * c.length
    flops += attention["txt/"] * c.depth * c.heads * c.head_dim * c.length**2
    flops += 6 * pairs * (c.out_width or c.width)
  if c := config.llm:
    total = tokens(config, text_len, images)
    flops += each["llm/"] * spec.count(families.of(c), c, spec.ROLES.keys() - LOOKED_UP) * total
    flops += each["llm/"] * _head(c) * text_len
    flops += attention["llm/"] * c.depth * c.heads * c.head_dim * total**2
  return flops


def of_prefill(config, text_len, images=1):
  """FLOPs of reading a prompt: forward alone, and logits of one token."""
  unread = 2 * _head(config.llm) * (text_len - 1)
  return per_example(config, text_len, images) / 3 - unread


def _head(c):
  """Weights of a decoder's head, those of its table: OPT-350m's is narrower than the model."""
  return c.vocab_size * (getattr(c, "embed_width", None) or c.width)


def tokens(config, text_len, images=1):
  """Tokens of an example in the decoder; of two towers, patches and text."""
  if config.txt:
    return images * config.img.patches + text_len
  return (images * config.img.tokens if config.img else 0) + text_len
