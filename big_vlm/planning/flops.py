"""How many floating-point operations a training step of a model requires, and a prefill.

6 per weight and token (2 forward, 4 backward: Kaplan et al. 2020, section 2.1), by the tokens that
pass a weight: the tower's by patches, the decoder's by all tokens, the head's by text tokens; plus
the two matmuls of attention over all pairs. Two towers add those of a vector with the batch's
others. Nothing goes back through a tower that does not train: 2 of 6. Rematerialization and the
optimizer are left out: a utilization by this count is the MFU of PaLM (appendix B).
"""
from big_vlm import families
from big_vlm.families import spec

LOOKED_UP = {"embedding", "table", "position"}  # roles of tables


def per_example(config, text_len, images=1, pairs=0, frozen=()):
  """FLOPs of training on one example, of a PaliGemmaConfig; text_len tokens enter the decoder.

  pairs: of two towers, texts with which an image is compared. frozen: of "img/" and "txt/", the
  towers none of whose parameters train.
  """
  flops, forward = 0, {prefix: 3 if prefix in frozen else 1 for prefix in config.parts}
  if c := config.img:
    patches = images * c.patches
    tower = 6 * spec.count(families.of(c), c) * patches
    tower += 12 * c.depth * c.heads * c.head_dim * patches * c.patches
    flops += tower // forward["img/"]
  if c := config.txt:
    tower = 6 * spec.count(families.of(c), c, spec.ROLES.keys() - LOOKED_UP) * c.length
    tower += 12 * c.depth * c.heads * c.head_dim * c.length**2
    flops += tower // forward["txt/"] + 6 * pairs * (c.out_width or c.width)
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
  """Tokens of an example in the decoder; of two towers, patches and text."""
  if config.txt:
    return images * config.img.patches + text_len
  return (images * config.img.tokens if config.img else 0) + text_len
