"""A model's config told from the shapes of its parameters, for files that do not say."""
import dataclasses
import math

from big_vlm.families import gemma, opt, paligemma
from big_vlm.families import siglip as vit

IMAGE_SIZES = (224, 256, 384, 448, 512, 896)  # of released towers; 384 / 14 leaves a rest


def config(shapes, path):
  """PaliGemmaConfig of {leaf name: shape}; path: for the message of the ValueError."""
  try:
    img = _tower(shapes) if "img/embedding/kernel" in shapes else None
    llm = None
    if "llm/embedder/pos_embedding" in shapes:
      llm = _opt(shapes)
    elif "llm/embedder/input_embedding" in shapes:
      llm = _gemma(shapes, multimodal=img is not None)
  except KeyError as e:
    raise ValueError(f"{path}: the parameter {e} is missing, without which the model cannot be "
                     f"told. Found: {_some(shapes)}.") from e
  if img is None and llm is None:
    raise ValueError(f"{path} holds neither a vision tower (img/embedding/kernel) nor a decoder "
                     f"(llm/embedder/input_embedding). Found: {_some(shapes)}.")
  return paligemma.PaliGemmaConfig(img, llm)


def _some(shapes):
  return ", ".join(sorted(shapes)[:6]) + (", ..." if len(shapes) > 6 else "")


def _tower(shapes):
  patch, _, _, width = shapes["img/embedding/kernel"]
  block = "img/Transformer/encoderblock"
  depth, _, heads, _ = shapes[f"{block}/MultiHeadDotProductAttention_0/query/kernel"]
  side = math.isqrt(shapes["img/pos_embedding"][1])
  return vit.ViTConfig(
      width=width, depth=depth, mlp=shapes[f"{block}/MlpBlock_0/Dense_0/kernel"][2], heads=heads,
      patch=patch, image_size=next((s for s in IMAGE_SIZES if s // patch == side), side * patch),
      pool="map" if "img/MAPHead_0/probe" in shapes else "none",
      out_width=shapes["img/head/kernel"][1] if "img/head/kernel" in shapes else None)


def _gemma(shapes, multimodal):
  vocab, width = shapes["llm/embedder/input_embedding"]
  if "llm/layers/attn/qkv_einsum/w" in shapes:
    depth, _, heads, _, head_dim = shapes["llm/layers/attn/qkv_einsum/w"]
    kv_heads = heads
  else:
    depth, heads, _, head_dim = shapes["llm/layers/attn/q_einsum/w"]
    kv_heads = shapes["llm/layers/attn/kv_einsum/w"][2]
  told = dict(width=width, depth=depth, mlp=shapes["llm/layers/mlp/linear"][1], heads=heads,
              kv_heads=kv_heads, head_dim=head_dim,
              post_norms="llm/layers/post_attention_norm/scale" in shapes)
  same = [row for row in gemma.VARIANTS.values()
          if all(getattr(row, k) == v for k, v in told.items())]
  # Unknown sizes: what the releases with and without these norms have in common.
  like = same[0] if same else gemma.config("gemma2_2b" if told["post_norms"] else "gemma_2b")
  window = None if multimodal else like.window  # PaliGemma 2 was trained without
  return dataclasses.replace(like, **told, vocab_size=vocab, window=window)


def _opt(shapes):
  vocab, width = shapes["llm/embedder/input_embedding"]
  depth, _, heads, _ = shapes["llm/layers/attn/query/kernel"]
  return opt.OPTConfig(
      width=width, depth=depth, mlp=shapes["llm/layers/mlp/Dense_0/kernel"][2], heads=heads,
      vocab_size=vocab, max_positions=shapes["llm/embedder/pos_embedding"][0])
