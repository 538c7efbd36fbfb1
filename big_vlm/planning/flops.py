"""How many floating-point operations a training step of a model requires, and a prefill.

6 per weight and token (2 forward, 4 backward: Kaplan et al. 2020, section 2.1), by the tokens that
pass a weight: the tower's by patches, the decoder's by all tokens, the head's by text tokens; plus
the two matmuls of attention over all pairs. Rematerialization and the optimizer are left out: a
utilization by this count is the MFU of PaLM (appendix B).
"""
from big_vlm import families
from big_vlm.families import spec

LOOKED_UP = {"embedding", "table", "position"}  # roles of tables


def per_example(config, text_len, images=1):
  """FLOPs of training on one example, of a PaliGemmaConfig; text_len tokens enter the decoder."""
  flops = 0
  if c := config.img:
    patches = images * c.patches
    flops += 6 * spec.count(families.of(c), c) * patches
    flops += 12 * c.depth * c.heads * c.head_dim * patches * c.patches
  if c := config.txt:
    flops += 6 * spec.count(families.of(c), c, spec.ROLES.keys() - LOOKED_UP) * c.length
    flops += 12 * c.depth * c.heads * c.head_dim * c.length**2
  if c := config.llm:
    total = tokens(config, text_len, images)
    flops += 6 * spec.count(families.of(c), c, spec.ROLES.keys() - LOOKED_UP) * total
    flops += 6 * c.vocab_size * c.width * text_len
    flops += 12 * c.depth * c.heads * c.head_dim * total**2
  return flops


def of_prefill(config, text_len, images=1):
  """FLOPs of reading a prompt: forward alone, and logits of one token."""
  unread = 2 * config.llm.vocab_size * config.llm.width * (text_len - 1)
  return per_example(config, text_len, images) / 3 - unread


def tokens(config, text_len, images=1):
  """Tokens of an example in the decoder."""
  return (images * config.img.tokens if config.img else 0) + text_len
