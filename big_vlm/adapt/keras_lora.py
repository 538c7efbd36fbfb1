"""KerasHub's adapters: FILE.lora.h5, as backbone.save_lora_weights() writes it.

  lora/vars/rank                       int
  lora/<number>/vars/lora_kernel_a     of a decoder's projection [heads, D, r], of a tower's [D, r]
  lora/<number>/vars/lora_kernel_b     [r, head_dim], [r, heads * head_dim]

The number is a layer's place in the backbone, flattened; nothing else says which it is. By
enable_lora() queries and values are adapted, with a scale of 1. The heads of a decoder's projection
share B and have an A each, so here, where A is of all heads, the rank is heads times as large.

L layers, D width, N heads, K kv heads, H head dim, r rank in the file, R rank here.
"""
import re

import numpy as np

from big_vlm.adapt import lora
from big_vlm.families import gemma, gemma3
from big_vlm.formats import h5, param_map

# Layers with weights of a block, in KerasHub's order; those with a mark are there where the config
# has it.
DECODER_BLOCK = ("block", "ffw_linear", "ffw_gating_2", "ffw_gating", "post_ffw_norm:post_norms",
                 "pre_ffw_norm", "attention", "attention_output", "key_norm:qk_norm",
                 "query_norm:qk_norm", "value", "key", "query", "post_attention_norm:post_norms",
                 "pre_attention_norm")
TOWER_BLOCK = ("block", "layer_norm_2", "mlp_dense_2", "mlp_dense_1", "layer_norm_1", "attention",
               "out", "value", "key", "query")
TOWER_FIRST, TOWER_LAST = 4, 4  # layers before and after its blocks, which come last block first
ATTENTION = "img/Transformer/encoderblock/MultiHeadDotProductAttention_0"


def load(model, params, path):
  """params with the adapters of a file.

  Raises ValueError for a model that is no Gemma or PaliGemma, and one that lists all arrays which
  are missing, unexpected or of another shape.
  """
  config = model.config
  if type(config.llm) not in (gemma.Config, gemma3.Config):
    raise ValueError(f"{path}: adapters of KerasHub are read for Gemma and PaliGemma.")
  found, places = h5.read_file(path), _places(config)
  rank = found.pop("lora/vars/rank", None)
  whole = rank is not None and rank.shape == () and rank.dtype.kind in "iu"
  rank = int(rank.read(())) if whole else 0
  param_map.compare(found, {
      f"lora/{number}/vars/lora_kernel_{half}": shape
      for number, (_, _, a, b) in places.items()
      for half, shape in (("a", (*a, rank)), ("b", (rank, b)))},
      f"{path} (with query and value of rank {rank} adapted, as KerasHub's enable_lora does it)")
  most = rank * max(np.prod(a[:-1], dtype=int) for _, _, a, _ in places.values())
  names = sorted({name for name, *_ in places.values()})
  params = lora.add(model, params, int(most), "|".join(map(re.escape, names)))
  leaves = {f"{name}/{part}": np.zeros(getattr(wrapper, part).shape, np.float32)
            for name, wrapper in lora.adapters(params).items() for part in ("lora_a", "lora_b")}
  for number, (name, at, *_) in places.items():
    a, b = (found[f"lora/{number}/vars/lora_kernel_{half}"].read(()).astype(np.float32)
            for half in "ab")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
      raise ValueError(f"{path}: layer {number} holds values that are not finite.")
    _fill(leaves[f"{name}/lora_a"][at], leaves[f"{name}/lora_b"][at], a, b)
  return lora.filled(params, leaves, path)


def _places(config):
  """{number: (weight's name, index of its layer and slot, shape of A but for r, size of B)}."""
  places, first, llm = {}, 1, config.llm
  if img := config.img:
    for layer in range(img.depth):
      block = TOWER_FIRST + len(TOWER_BLOCK) * (img.depth - 1 - layer)
      for name in ("query", "value"):
        places[block + TOWER_BLOCK.index(name)] = (
            f"{ATTENTION}/{name}/kernel", (layer,), (img.width,), img.width)
    first = TOWER_FIRST + len(TOWER_BLOCK) * img.depth + TOWER_LAST
  has = [name for name, _, mark in (x.partition(":") for x in DECODER_BLOCK)
         if not mark or getattr(llm, mark, False)]
  together = llm.kv_heads == llm.heads
  for layer in range(llm.depth):
    block, attn = first + len(has) * layer, "llm/layers/attn"
    query, value = (block + has.index(name) for name in ("query", "value"))
    for number, heads, apart, slot in ((query, llm.heads, ("q_einsum", ()), 0),
                                       (value, llm.kv_heads, ("kv_einsum", (1,)), 2)):
      weight, at = ("qkv_einsum", (slot,)) if together else apart
      places[number] = (f"{attn}/{weight}/w", (layer, *at), (heads, llm.width), llm.head_dim)
  return places


def _fill(into_a, into_b, a, b):
  """Writes a pair of the file into zeros, A [D, R] and B [R, heads, H]."""
  if a.ndim == 2:
    into_a[:, :len(b)], into_b[:len(b)] = a, b.reshape(len(b), *into_b.shape[1:])
    return
  for head, part in enumerate(a):  # [D, r]
    ranks = slice(head * len(b), (head + 1) * len(b))
    into_a[:, ranks], into_b[ranks, head] = part, b
