"""Compiles the training step for a TPU pod with the TPU's own compiler, on any machine.

  python -m benchmarks.tpu_compile [--rows 3b_224 10b_224] [--topology v5e:16x16]

Each row is a model, image size, text length and batch, with Adam in float32, float32 parameters,
bfloat16 compute and every text token supervised, which is the most the loss can cost. Reported:

  GiB          per chip: arguments + temporaries + outputs - arguments that are updated in place
  step         seconds: the compiler's estimated cycles at the chip's clock. Pallas kernels, which
               it does not estimate, count their FLOPs over visible pairs at half of the peak;
               "kernels" is their part. The time spent waiting for the network is not included
  network      lower bound of the seconds that the collectives take, behind the arithmetic or not
  MFU          the model's FLOPs (big_vlm/planning/flops.py) over the peak
  reference    big_vision's public step at the same shapes, measured in the same way

Needs the TPU compiler: pip install --no-deps --target .libtpu -r requirements-tpu-compiler.txt
A row takes 2 to 6 minutes on 2 cores.
"""
import argparse
import datetime
import json
import pathlib
import subprocess
import time
from typing import NamedTuple

from big_vlm.planning import memory
from configs import common
from tools.planning import child

OUT = pathlib.Path(__file__).parent / "results" / "tpu_compile.json"
VOCAB = 257_152


class Row(NamedTuple):
  """A program to compile; microbatches and remat are the fastest of those tried that fit."""
  llm: str
  pixels: int
  text: int
  batch: int
  microbatches: int = 1
  remat: str = "full"
  reference: tuple = (None, None, None)  # GiB, seconds, tokens/s/chip
  # 256 does not divide the tower's 1,152 nor the vocabulary; 128 does.
  mesh: tuple = (2, -1, 1)


ROWS = {
    "3b_224": Row("gemma_2b", 224, 128, 8192, 2, "save_attn", (17.1, 2.47, 4976)),
    "3b_448": Row("gemma_2b", 448, 512, 2048, 2, "save_attn", (17.2, 2.85, 4315)),
    "3b_896": Row("gemma_2b", 896, 512, 256, 1, "save_attn", (13.4, 1.70, 2717)),
    "2_3b_224": Row("gemma2_2b", 224, 128, 8192, 2, "save_attn", (17.4, 2.97, 4136)),
    "2_10b_224": Row("gemma2_9b", 224, 128, 2048, 1, "save_attn", (14.7, 2.72, 1128)),
    "2_28b_224": Row("gemma2_27b", 224, 128, 1024, 1, "full", (17.5, 5.41, 284)),
}


def config(row):
  """The training config of a Row: that of a transfer, in which PaliGemma 2 has no final cap."""
  c = common.train(total_steps=10_000)
  c.model.img = dict(variant="So400m/14", image_size=row.pixels, remat=row.remat)
  c.model.llm = dict(variant=row.llm, vocab_size=VOCAB, remat=row.remat)
  if row.llm.startswith("gemma2"):
    c.model.llm.update(window=None, final_softcap=0.)
  c.model.dtype = "bfloat16"
  c.input.batch_size, c.grad_accum_steps = row.batch, row.microbatches
  c.mesh.update(dict(zip(("data", "fsdp", "tensor"), row.mesh)))
  return c


def line(name, result):
  """A row of the printed table."""
  row = ROWS[name]
  numbers = row.reference
  reference = "-" if numbers[0] is None else "{:.1f} {:.2f} {:,.0f}".format(*numbers)
  shape = f"{name:<10} {row.pixels:>4} {row.text:>5} {row.batch:>6} {row.microbatches:>3}"
  used = result["memory"]["total"]
  used = f"{used / memory.GIB:6.2f}" if used else "     ?"
  if "step_seconds" not in result:
    return f"{shape} {row.remat:<9} {used} does not fit  | {reference}"
  return (f"{shape} {row.remat:<9} {used} {result['step_seconds']:6.3f} "
          f"{result['tokens_per_second']:8,.0f} {result['mfu']:6.1%} "
          f"{result['seconds']['attention kernels']:7.3f} {result['network_seconds']:7.2f}"
          f"{'' if result['fits'] else ' does not fit'}  | {reference}")


HEAD = (f"{'model':<10} {'px':>4} {'text':>5} {'batch':>6} {'mb':>3} {'remat':<9} {'GiB':>6} "
        f"{'step':>6} {'tok/s/ch':>8} {'MFU':>6} {'kernels':>7} {'network':>7}  | "
        "reference: GiB, step, tok/s/chip")


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
  parser.add_argument("--topology", default="v5e:16x16")
  parser.add_argument("--out", type=pathlib.Path, default=OUT)
  args = parser.parse_args()
  kept = json.loads(args.out.read_text())["rows"] if args.out.exists() else {}
  commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                          text=True, cwd=child.ROOT).stdout.strip()
  print(HEAD)
  for name in args.rows:
    began = time.perf_counter()
    result = child.measure(config(ROWS[name]), topology=args.topology, text_len=ROWS[name].text)
    print(f"{line(name, result)}   ({time.perf_counter() - began:.0f} s)", flush=True)
    kept[name] = {"date": datetime.date.today().isoformat(), "commit": commit,
                  "device": args.topology, **ROWS[name]._asdict(), **result}
    args.out.write_text(json.dumps({"rows": kept}, indent=1) + "\n")


if __name__ == "__main__":
  main()
