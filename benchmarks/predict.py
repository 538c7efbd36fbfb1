"""Kills `tools.predict --input` with SIGKILL many times: the answers are those of a run in peace.

  python -m benchmarks.predict [--images 10000] [--kills 10]

It writes pictures of digits, asks the model `digits` about them, kills each start at a random byte
of its growing file, and lets the last one run to the end. Then it compares the answers, byte for
byte, with those of an undisturbed run, and prints how fast that was and how much memory it took.
"""
import argparse
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

from big_vlm.datasets import digits

ROOT = pathlib.Path(__file__).parent.parent
SCENES = 1000  # different ones; the others are lighter


def write_pictures(folder, count):
  folder.mkdir()
  config = next(c for c in digits.Digits.BUILDER_CONFIGS if c.name == "small")
  scenes = [s["image"] for s in digits.scenes(config, "test", min(count, SCENES))]
  for i in range(count):
    image = np.clip(scenes[i % SCENES].astype(int) + i // SCENES, 0, 255).astype(np.uint8)
    Image.fromarray(image).resize((64, 48)).save(folder / f"{i:06}.png")


def start(folder, out):
  return subprocess.Popen(
      [sys.executable, "-m", "tools.predict", "digits", "--input", str(folder), "--prompt",
       "detect 3 ; 8", "--out", str(out)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
      env={**os.environ, "JAX_PLATFORMS": "cpu"})


def kill(folder, out, grow):
  """Kills a start after its file has grown by so many bytes; the size of the file, or None where
  the run was through before."""
  partial = pathlib.Path(f"{out}.partial")
  size = lambda: partial.stat().st_size if partial.exists() else 0
  began, process = size(), start(folder, out)
  while size() < began + grow and process.poll() is None:
    time.sleep(0.002)
  if process.poll() is not None:
    return None
  process.kill()
  process.communicate()
  return size()


def finish(folder, out):
  """The last line that an undisturbed start prints."""
  process = start(folder, out)
  said = process.communicate()[0]
  assert process.returncode == 0, said
  return said.splitlines()[-1]


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--images", type=int, default=10_000)
  parser.add_argument("--kills", type=int, default=10)
  args = parser.parse_args()
  draw = random.Random(0)
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    write_pictures(folder / "in", args.images)
    print(finish(folder / "in", folder / "straight.jsonl"))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    size, done = (folder / "straight.jsonl").stat().st_size, 0
    for _ in range(args.kills):
      if (at := kill(folder / "in", folder / "killed.jsonl",
                     draw.randrange(size // args.kills))) is None:
        break
      done += 1
      print(f"kill {done} at byte {at:,}", flush=True)
    if not (folder / "killed.jsonl").exists():
      finish(folder / "in", folder / "killed.jsonl")
    same = (folder / "killed.jsonl").read_bytes() == (folder / "straight.jsonl").read_bytes()
    print(f"{done} kills: the same file: {same}; peak memory {peak:.0f} MB")


if __name__ == "__main__":
  main()
