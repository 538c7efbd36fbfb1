"""SigLIP's text tower in big_vision's .npz files: its config told from shapes."""
import re

from big_vlm.families.siglip.npz import unstacked
from big_vlm.families.siglip.text.variants import SIGLIP2_VOCAB, TextConfig, pad_token
from big_vlm.formats.param_map import export_

MARKS = ("txt/Embed_0/embedding",)


def config_from_shapes(shapes, multimodal):
  vocab_size, width = shapes["txt/Embed_0/embedding"]
  block = "txt/Encoder_0/encoderblock"
  depth, _, heads, _ = shapes[f"{block}/MultiHeadDotProductAttention_0/query/kernel"]
  head = shapes.get("txt/head/kernel")
  return TextConfig(
      width=width, depth=depth, mlp=shapes[f"{block}/MlpBlock_0/Dense_0/kernel"][2], heads=heads,
      vocab_size=vocab_size, length=shapes["txt/pos_embedding"][1],
      pad_token=pad_token(vocab_size), out_width=head[1] if head else None)


def export_leaves(leaves, config):
  """leaves as big_vision's configs of the released models read them: it does not restack the text
  tower, and SigLIP's is not stacked, SigLIP 2's is."""
  if not config.txt or config.txt.vocab_size == SIGLIP2_VOCAB:
    return leaves
  blocks = {n: x for n, x in leaves.items() if re.match("txt/.*/encoderblock/", n)}
  depths = {"txt/Encoder_0/encoderblock": config.txt.depth}
  rest = {n: x for n, x in leaves.items() if n not in blocks}
  return rest | export_([unstacked(n, depths) for n in blocks], blocks)
