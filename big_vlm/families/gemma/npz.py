"""Gemma in big_vision's .npz files, whose names are ours: its config told from shapes."""
import dataclasses

from big_vlm.families.gemma import variants

MARKS = ("llm/embedder/input_embedding",)


def sizes(shapes):
  """{field of the config: value} that the shapes of a decoder's leaves tell."""
  _, width = shapes["llm/embedder/input_embedding"]
  if "llm/layers/attn/qkv_einsum/w" in shapes:
    depth, _, heads, _, head_dim = shapes["llm/layers/attn/qkv_einsum/w"]
    kv_heads = heads
  else:
    depth, heads, _, head_dim = shapes["llm/layers/attn/q_einsum/w"]
    kv_heads = shapes["llm/layers/attn/kv_einsum/w"][2]
  return dict(width=width, depth=depth, mlp=shapes["llm/layers/mlp/linear"][1], heads=heads,
              kv_heads=kv_heads, head_dim=head_dim,
              post_norms="llm/layers/post_attention_norm/scale" in shapes)


def config_from_shapes(shapes, multimodal):
  known, vocab_size = sizes(shapes), shapes["llm/embedder/input_embedding"][0]
  same = [row for row in variants.VARIANTS.values()
          if all(getattr(row, k) == v for k, v in known.items())]
  # Unknown sizes: what the releases with and without these norms have in common.
  like = same[0] if same else variants.config("gemma2_2b" if known["post_norms"] else "gemma_2b")
  window = None if multimodal else like.window  # PaliGemma 2 was trained without
  return dataclasses.replace(like, **known, vocab_size=vocab_size, window=window)
