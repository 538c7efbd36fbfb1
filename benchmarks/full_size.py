"""Converts and loads a full-size PaliGemma 3B (2.92 B random parameters, bfloat16).

  python -m benchmarks.full_size FOLDER

It writes pt_224.npz (5.8 GB) and its Hugging Face folder into FOLDER and loads both in bfloat16. It
prints the times, the peak memory of each process, and whether logits are finite and equal at two
batch sizes. It needs 12 GB of disk.
"""
import hashlib
import json
import pathlib
import resource
import subprocess
import sys
import time

import jax
import ml_dtypes
import numpy as np

import big_vlm
from big_vlm import presets, reporting
from big_vlm.checkpoints import save
from big_vlm.checkpoints.checkpoint import Checkpoint, LazyArray
from big_vlm.families import paligemma

NAME = "pali_gemma_3b_224"


def random_leaf(name, shape):
  """A bfloat16 LazyArray of normal numbers, drawn when it is read."""
  seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
  std = 0.02 if len(shape) > 2 or "embed" in name or "kernel" in name else 0.

  def read(index=()):
    at = index[0] if index else 0
    size = shape[len(index):]
    rng = np.random.default_rng([seed, at])
    x = rng.standard_normal(size, np.float32) * std + ("LayerNorm" in name and "scale" in name)
    return x.astype(ml_dtypes.bfloat16)
  return LazyArray(shape, np.dtype(ml_dtypes.bfloat16), read)


def make(path):
  config = paligemma.config(**presets.resolve(NAME).config)
  leaves = {n: random_leaf(n, s.shape) for n, s in paligemma.param_shapes(config).items()}
  save.save(Checkpoint("random", config, leaves, None), path, "npz",
            reporting.counter(str(path), "B"))


def forward(path):
  """Loads in bfloat16 and runs batches of 1 and 2."""
  began = time.perf_counter()
  vlm = big_vlm.from_preset(path, dtype="bfloat16")
  jax.block_until_ready(vlm.params)
  loaded = time.perf_counter()
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
  tokens = rng.integers(4, 257_152, (2, 4)).astype(np.int32)
  both = np.asarray(vlm.logits(tokens, images))
  one = np.asarray(vlm.logits(tokens[:1], images[:1]))
  print(json.dumps({
      "source": str(path), "parameters": sum(x.size for x in jax.tree.leaves(vlm.params)),
      "load_s": round(loaded - began, 1), "forward_s": round(time.perf_counter() - loaded, 1),
      "finite": bool(np.isfinite(both).all() and np.isfinite(one).all()),
      "largest_logit": float(np.abs(both).max()),
      "difference_of_batch_sizes": float(np.abs(both[:1] - one).max()), **peak()}))


def peak():
  used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  status = pathlib.Path("/proc/self/status").read_text().split()
  return {"peak_GiB": round(used / 2**30, 2),
          "anonymous_GiB_now": round(int(status[status.index("RssAnon:") + 1]) / 2**20, 2)}


def main(folder):
  folder = pathlib.Path(folder)
  source, out = folder / "pt_224.npz", folder / "hf"
  if not source.exists():
    make(source)
  steps = [["-m", "tools.convert", source, out, "--format", "hf"]] if not out.exists() else []
  steps += [["-m", "benchmarks.full_size", "forward", path] for path in (source, out)]
  for step in steps:  # each in its own process, so that a peak belongs to one step
    began = time.perf_counter()
    subprocess.run([sys.executable, *map(str, step)], check=True)
    print(f"  {' '.join(map(str, step))}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
  forward(sys.argv[2]) if sys.argv[1] == "forward" else main(sys.argv[1])
