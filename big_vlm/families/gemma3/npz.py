"""Gemma 3 in .npz files, whose names are ours: its config told from shapes."""
import dataclasses

from big_vlm.families.gemma import npz
from big_vlm.families.gemma3 import variants

MARKS = ("llm/embedder/input_embedding", "llm/layers/attn/q_norm/scale")


def config_from_shapes(shapes, multimodal):
  """Raises ValueError for sizes of no release: shapes tell neither window nor RoPE."""
  del multimodal
  known = npz.sizes(shapes)
  for row in variants.VARIANTS.values():
    if all(getattr(row, field) == size for field, size in known.items()):
      return dataclasses.replace(row, vocab_size=shapes["llm/embedder/input_embedding"][0])
  raise ValueError(f"no Gemma 3 has the sizes {known}, and shapes do not tell its window, RoPE and "
                   "pattern of layers: keep the folder .model beside the file.")
