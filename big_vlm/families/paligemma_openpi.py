"""PaliGemma in openpi (pi0, pi0.5, pi0-FAST) and LeRobot: which leaves are its own, which are the
robot's.

JAX: the leaves of a PaliGemma have big_vision's names below "PaliGemma/". pi0 and pi0.5 have a
second decoder in the same layers, the action expert: a component of the path that ends in _1. (The
tower's LayerNorm_1 and Dense_1 end so too, and are not below "llm".) Beside them are projections of
states, times and actions. LoRA variants keep adapters of rank 16 or 32 next to the weights, with
alpha equal to the rank: merged, a weight is w + a @ b.

Torch: transformers' names of a PaliGemma in memory, below "paligemma_with_expert.paligemma.", with
LeRobot all of it below "model.". The table is there as lm_head alone: safetensors keeps one of two
tied names.
"""
import dataclasses
import math
import re

import jax.numpy as jnp
import numpy as np

from big_vlm.families import paligemma
from big_vlm.families.siglip import variants as siglip
from big_vlm.formats.lazy_array import LazyArray, from_array
from pp.names import near_miss

ROOT, TORCH_ROOT = "PaliGemma/", "paligemma_with_expert."
TORCH = TORCH_ROOT + "paligemma."
FILLER = TORCH_ROOT + "gemma_expert.lm_head.weight"  # random numbers that nothing reads
_DENSE = {"jax": ("kernel", "bias"), "torch": ("weight", "bias")}
_PROJECTIONS = {
    "pi0": ("action_in_proj", "action_out_proj", "state_proj", "action_time_mlp_in",
            "action_time_mlp_out"),
    "pi05": ("action_in_proj", "action_out_proj", "time_mlp_in", "time_mlp_out"), "pi0_fast": ()}
_EXPERT = ("attn/q_einsum_1/w", "attn/kv_einsum_1/w", "attn/attn_vec_einsum_1/w",
           "mlp_1/gating_einsum", "mlp_1/linear")
_NORMS = ("layers/pre_attention_norm_1", "layers/pre_ffw_norm_1", "final_norm_1")
_TORCH_EXPERT = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                 "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_TORCH_NORMS = ("input_layernorm", "post_attention_layernorm")
TEXT_LEN = {"pi0": 48, "pi05": 200, "pi0_fast": 250}  # openpi's defaults
WORDS = {"pi0": "pi0", "pi05": "pi0.5", "pi0_fast": "pi0-FAST"}
# Adapters of one weight: (weight, a, b).
_LORA = re.compile(r"(.*)/lora_([ab])|(.*)_lora_([ab])")


def kind_of(names):
  """"pi0", "pi05" or "pi0_fast" of the names of all leaves, of JAX or of torch."""
  first = {re.split("[/.]", name)[0] for name in names}
  if first & {"time_mlp_in", "time_mlp_out"}:
    return "pi05"
  return "pi0" if first & set(_PROJECTIONS["pi0"]) else "pi0_fast"


def aside(names, framework, path):
  """(kind, the set of those names that are of the action expert and the projections).

  framework: "jax" or "torch". Raises one ValueError that lists what is missing of them, and what is
  neither theirs nor of the PaliGemma.
  """
  root, kind = ROOT if framework == "jax" else TORCH, kind_of(names)
  depth = 1 + max((int(n) for name in names for n in re.findall(
      r"gemma_expert.*\.layers\.(\d+)\.", name)), default=0)
  wanted = _wanted(kind, framework, depth)
  found = {n for n in names if (_adapter(n) or (n,))[0] in wanted or n == FILLER}
  left, missing = sorted(n for n in names if n not in found and not n.startswith(root)), sorted(
      wanted - found)
  if left or missing:
    raise ValueError(f"{path} is not a whole {WORDS[kind]} of openpi."
                     + (near_miss(left[0], wanted) if left else "") + "".join(
        f"\n  {len(some)} {what}: {', '.join(some[:8])}" + " ..." * (len(some) > 8)
        for what, some in (("missing", missing), ("unexpected", left)) if some))
  return kind, found


def _wanted(kind, framework, depth):
  """The set of names of what a model has besides its PaliGemma, adapters left out."""
  separator = "/" if framework == "jax" else "."
  names = {f"{name}{separator}{part}" for name in _PROJECTIONS[kind] for part in _DENSE[framework]}
  if kind == "pi0_fast":
    return names
  if framework == "jax":
    parts = ("scale",) if kind == "pi0" else ("Dense_0/kernel", "Dense_0/bias")
    return (names | {f"{ROOT}llm/layers/{name}" for name in _EXPERT}
            | {f"{ROOT}llm/{name}/{part}" for name in _NORMS for part in parts})
  expert, parts = TORCH_ROOT + "gemma_expert.model.", (
      ("weight",) if kind == "pi0" else ("dense.weight", "dense.bias"))
  for i in range(depth):
    names |= {f"{expert}layers.{i}.{name}.weight" for name in _TORCH_EXPERT}
    names |= {f"{expert}layers.{i}.{name}.{part}" for name in _TORCH_NORMS for part in parts}
  return names | {f"{expert}norm.{part}" for part in parts}


def _adapter(name):
  """(name of the weight, "a" or "b") of an adapter's leaf, else None."""
  if not (found := _LORA.fullmatch(name)):
    return None
  attention, a, mlp, b = found.groups()
  return (f"{attention}/w", a) if attention else (mlp, b)


def merge_lora(leaves, path):
  """The leaves without adapters: each is added to its weight, in float32."""
  pairs = {}
  for name in leaves:
    if adapter := _adapter(name):
      pairs.setdefault(adapter[0], {})[adapter[1]] = leaves[name]
  for name, pair in pairs.items():
    if set(pair) != {"a", "b"} or name not in leaves:
      raise ValueError(f"{path}: {name} has a half of its LoRA adapter, or no weight.")
  merged = {name: _merged(name, leaves[name], pair["a"], pair["b"], path)
            for name, pair in pairs.items()}
  return {n: merged.get(n, x) for n, x in leaves.items() if not _adapter(n)}


def _merged(name, w, a, b, path):
  heads = "attn_vec_einsum" in name  # openpi's second einsum sums its heads once more
  rank = a.shape[-1:]
  if a.shape != (*w.shape[:-1], *rank) or b.shape != (*w.shape[:-2], *rank, *w.shape[-1:]) or (
      len(w.shape) < 2 or 0 in b.shape):
    raise ValueError(f"{path}: the LoRA adapters of {name} are {list(a.shape)} and "
                     f"{list(b.shape)}, which does not fit {list(w.shape)}.")
  if odd := [str(x.dtype) for x in (w, a, b) if not jnp.issubdtype(x.dtype, jnp.floating)]:
    raise ValueError(f"{path}: {name} or its LoRA adapter holds {odd[0]}, not floats.")

  def read(index=()):
    layer = index[:1]
    weight, down, up = (np.asarray(x.read(layer), np.float32) for x in (w, a, b))
    delta = down @ (up.sum(-3, keepdims=True) if heads else up)
    return (weight + delta)[(slice(None), *index[1:]) if layer and isinstance(
        layer[0], slice) else index[1:]]
  return LazyArray(w.shape, np.dtype(np.float32), read)


def put_back(ours, inner, full):
  """{name: LazyArray} of the whole checkpoint `full`, with `ours` in the place of its PaliGemma.

  inner: {name in full: name in ours, or an adapter's}. A leaf keeps the dtype that it has in
  `full`. Adapters of weights among ours, which hold them already, become zero; all else stays.
  """
  def leaf(name, x):
    mine = inner.get(name, "")
    adapter = _adapter(mine)
    if mine in ours:
      return cast(ours[mine], x.dtype)
    if adapter and adapter[0] in ours and adapter[1] == "b":
      return from_array(np.zeros(x.shape, x.dtype))
    return x
  return {name: leaf(name, x) for name, x in full.items()}


def cast(leaf, dtype):
  """The LazyArray in another dtype."""
  if leaf.dtype == dtype:
    return leaf
  return dataclasses.replace(leaf, dtype=dtype,
                             read=lambda index=(): np.asarray(leaf.read(index)).astype(dtype))


def check_export(config):
  """Raises ValueError for a model that openpi's PaliGemma, a Gemma 1 below So400m/14, is not."""
  img, llm = config.img, config.llm
  if not (img and llm and hasattr(llm, "post_norms")) or img.pool != "none" or img.rep_size or (
      img.positions != "learn"):
    raise ValueError("openpi holds a PaliGemma: a tower and a decoder. Give such a model.")
  odd = [name for name in ("post_norms", "attn_softcap", "final_softcap", "window", "query_scale")
         if getattr(llm, name)]
  if odd or llm.kv_heads == llm.heads and llm.heads > 1:
    raise ValueError("openpi's decoder is that of PaliGemma 1: it has no "
                     f"{', '.join(odd) or 'kv head for each query head'}, as this model has. Start "
                     "from a PaliGemma 3B.")


def differences(config):
  """[str]: in what a PaliGemma of this config is not the one of openpi's released models."""
  released = {"image_size": (config.img.image_size, 224), "width": (config.llm.width, 2048),
              "depth": (config.llm.depth, 18), "vocab_size": (config.llm.vocab_size, 257_152),
              "width of the tower": (config.img.width, 1152)}
  return [f"{name} {has}, not {wants}" for name, (has, wants) in released.items() if has != wants]


def config_of_torch(shapes, path):
  """PaliGemmaConfig of {transformers' name: shape}; path: for the message of the ValueError.

  Shapes do not tell heads: openpi's decoders have one kv head, and its tower is a row of ViT
  variants.
  """
  vision, text = "vision_tower.vision_model.", "language_model.model.layers."
  try:
    width, _, patch, _ = shapes[f"{vision}embeddings.patch_embedding.weight"]
    positions, _ = shapes[f"{vision}embeddings.position_embedding.weight"]
    mlp, _ = shapes[f"{vision}encoder.layers.0.mlp.fc1.weight"]
    vocab_size, embed = shapes["language_model.model.embed_tokens.weight"]
    head_dim, _ = shapes[f"{text}0.self_attn.k_proj.weight"]
    queries, _ = shapes[f"{text}0.self_attn.q_proj.weight"]
    hidden, _ = shapes[f"{text}0.mlp.gate_proj.weight"]
  except (KeyError, ValueError) as e:
    raise ValueError(f"{path}: the tensor {e} is missing or of another rank, without which the "
                     "model cannot be told.") from e
  depth = lambda start: 1 + max(int(n[len(start):].split(".")[0]) for n in shapes
                                if n.startswith(start))
  sizes = dict(width=width, depth=depth(f"{vision}encoder.layers."), mlp=mlp, patch=patch)
  rows = [name for name, row in siglip.VARIANTS.items()
          if all(getattr(row, k) == v for k, v in sizes.items())]
  if not rows:
    raise ValueError(f"{path}: no known tower has {sizes}; openpi's is So400m/14.")
  return paligemma.config(
      {"variant": rows[0], "image_size": math.isqrt(positions) * patch},
      {"variant": "gemma_2b", "width": embed, "depth": depth(text), "mlp": hidden,
       "heads": queries // head_dim, "kv_heads": 1, "head_dim": head_dim,
       "vocab_size": vocab_size})
