"""What config.input.packing gains on a TPU pod, by the TPU's own compiler, on any machine.

  python -m benchmarks.packing [--rows none pack4 pack8] [--topology v5e:16x16]

PaliGemma 3B at 448 px, text_len 512, 2,048 examples a step, as row 3b_448 of
benchmarks/tpu_compile.py. The lengths of prompts with their answers are drawn from MIXTURE, which
stands for a second stage of pretraining: short captions and questions, some long transcriptions.
Rows are as long as data/packing.py makes those of the drawn batch. Reported: the shape of a row,
the share of its tokens that is not padding, and real tokens/s/chip, the compiler's estimate without
waiting for the network.

Needs the TPU compiler: pip install --no-deps --target .libtpu -r requirements-tpu-compiler.txt
"""
import argparse
import time

import numpy as np

from benchmarks import tpu_compile
from big_vlm.data import packing
from tools.planning import child

TEXT, BATCH, PATCHES = 512, 2048, 1024
MIXTURE = (  # (share of the examples, fewest and most tokens of prompt and answer)
    (0.40, 12, 40),  # captions
    (0.30, 10, 24),  # questions
    (0.15, 20, 120),  # boxes and masks
    (0.15, 40, 320))  # transcriptions
ROWS = {"none": ("none", 1, 2), "buckets": ("buckets", 1, 2), "pack2": ("pack", 2, 2),
        "pack4": ("pack", 4, 2), "pack8": ("pack", 8, 1)}  # mode, examples of a row, microbatches


def lengths(count=BATCH, seed=0):
  """int [count]: tokens of each example's text."""
  rng = np.random.default_rng(seed)
  kind = rng.choice(len(MIXTURE), count, p=[share for share, _, _ in MIXTURE])
  low, high = np.array(MIXTURE)[kind, 1:].T.astype(int)
  return rng.integers(low, high + 1)


def text_of_rows(mode, each, found):
  """Text tokens of a row of a batch with these lengths."""
  if mode == "none":
    return TEXT
  rows = [[i] for i in range(len(found))]
  if mode == "pack":
    group = packing.GROUP_ROWS * each
    rows = [[start + i for i in row] for start in range(0, len(found), group)
            for row in packing.share_out(found[start:start + group].tolist(), packing.GROUP_ROWS)]
  most, need = TEXT * each, max(sum(found[i] for i in row) for row in rows)
  return next(n for n in packing.buckets(most) if n >= need)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--rows", nargs="+", choices=ROWS, default=["none", "pack4", "pack8"])
  parser.add_argument("--topology", default="v5e:16x16")
  args = parser.parse_args()
  found = lengths()
  counts = np.histogram(found, [0, 16, 32, 64, 128, 256, 512])[0]
  print(f"tokens of {BATCH} texts: mean {found.mean():.1f}, most {found.max()}; below 16, 32, 64, "
        f"128, 256, 512: {', '.join(map(str, np.cumsum(counts)))}")
  for name in args.rows:
    mode, each, parts = ROWS[name]
    text = text_of_rows(mode, each, found)
    real = (PATCHES + found.mean()) * each / (PATCHES * each + text)
    print(f"{name:8} {BATCH // each:5} rows of {each} x {PATCHES} + {text} tokens, {real:.1%} real",
          end="  ", flush=True)
    config = tpu_compile.config(tpu_compile.ROWS["3b_448"]._replace(microbatches=parts))
    config.input.packing, config.input.row_examples = mode, each
    began = time.perf_counter()
    result = child.measure(config, topology=args.topology, text_len=text, images=each)
    if "step_seconds" not in result:
      print(f"does not fit: {result['failed'][:80]}")
      continue
    rate = result["tokens_per_second"] * real
    print(f"{result['memory']['total'] / 2**30:.1f} GiB, step {result['step_seconds']:.3f} s "
          f"({result['seconds']['attention kernels']:.3f} in kernels), {rate:,.0f} real "
          f"tokens/s/chip   ({time.perf_counter() - began:.0f} s)", flush=True)


if __name__ == "__main__":
  main()
