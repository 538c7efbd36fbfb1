"""OPT in .npz files, whose names are ours: its config told from shapes."""
from big_vlm.families.opt.variants import OPTConfig

MARKS = ("llm/embedder/input_embedding", "llm/embedder/pos_embedding")


def config_from_shapes(shapes, multimodal):
  """OPT with projected embeddings is post-norm: there is no other."""
  vocab, embed_width = shapes["llm/embedder/input_embedding"]
  projected = "llm/embedder/project_in" in shapes
  depth, width, heads, _ = shapes["llm/layers/attn/query/kernel"]
  return OPTConfig(
      width=width, depth=depth, mlp=shapes["llm/layers/mlp/Dense_0/kernel"][2], heads=heads,
      vocab_size=vocab, embed_width=embed_width if projected else None, post_norm=projected,
      max_positions=shapes["llm/embedder/pos_embedding"][0])
