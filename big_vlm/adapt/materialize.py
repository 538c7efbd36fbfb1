"""The leaves of a checkpoint with adapters or quantized weights, as those of the plain model.

A weight wrapper is stored as its parts: "llm/layers/mlp/linear/lora_a", ".../base/q". Loading such
a checkpoint gives the weights that the parts make together.
"""
import functools

import numpy as np

from big_vlm.adapt import einsum_hook, lora, quantize
from big_vlm.checkpoints.checkpoint import LazyArray
from big_vlm.families import paligemma

BASES = ("base/q", "base", "q")  # parts of the weight's own shape


def materialize_weights(leaves, config, scale):
  """{name: LazyArray} with one leaf for each weight; scale: of the adapters, alpha / rank."""
  out = dict(leaves)
  for name, (spec, parts) in _wrapped(leaves, config).items():
    out = {n: x for n, x in out.items() if not n.startswith(name + "/")}
    shape = parts[next(p for p in BASES if p in parts)].shape
    out[name] = LazyArray(shape, np.dtype(np.float32), _reader(parts, spec, scale))
  return out


def adapters(source):
  """{name: LoRA without its base} of a Checkpoint that stores adapters; ValueError for another."""
  if not source.lora_scale:
    raise ValueError(f"{source.path} holds no LoRA adapters: only the work folder of a training "
                     "with config.lora does.")
  return {name: lora.LoRA(None, parts["lora_a"].read(()), parts["lora_b"].read(()), spec,
                          source.lora_scale)
          for name, (spec, parts) in _wrapped(source.stored, source.config).items()
          if "lora_a" in parts}


def _wrapped(leaves, config):
  """{name of a weight: (its ParamSpec, {"q": LazyArray, ...})} of the weight wrappers."""
  found = {}
  for name, spec in einsum_hook.multiplying(paligemma.PaliGemma(config)).items():
    parts = {n.removeprefix(name + "/"): x for n, x in leaves.items() if n.startswith(name + "/")}
    if parts.keys() & set(BASES):
      found[name] = spec, parts
  return found


def _reader(parts, spec, scale):
  @functools.lru_cache(maxsize=1)  # a leaf is mostly read layer by layer
  def weight():
    read = {name: leaf.read(()) for name, leaf in parts.items()}
    base = read.get("base")
    for start in ("base/", ""):
      if start + "q" in read:
        base = quantize.Quantized(read[start + "q"], read[start + "scale"], "float32")
    if "lora_a" not in read:
      return np.asarray(base.dequantize())
    if not isinstance(base, quantize.Quantized):
      base = np.asarray(base, np.float32)
    return np.asarray(lora.LoRA(base, read["lora_a"], read["lora_b"], spec, scale).merge())
  return lambda index=(): weight()[tuple(index)]
