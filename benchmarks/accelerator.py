"""All that wants measuring on the day a GPU or TPU is there: make bench-accelerator

  python -m benchmarks.accelerator [--size 3b] [--sections right attention train decode] [--out DIR]

In DIR (benchmarks/results) it leaves accelerator-DEVICE.json, and the same as a page, .md:

  right      kernels beside plain attention, the decode step's matmul beside einsum, and the greedy
             answers of the model `digits` beside those of this machine's CPU
  attention  milliseconds forward and backward of each kernel of attention.KERNELS, by length, and
             the length from which each is the fastest: what SPLASH_FROM and CUDNN_FROM stand for
  train      PaliGemma 3B at 224 pixels, a step of 8 examples: MFU, memory, and transformers on
             torch beside it, where that is installed (benchmarks/train_step.py)
  decode     prefill and a round of bfloat16, int8 and int4 weights, at 1, 8 and 32 prompts: beside
             the time to read weights and cache once at the published bandwidth (floor), and what
             the device's compiler promised, where benchmarks/decode_compile.py was run for it

Each section runs in a process of its own, which ends when its time is over (LIMITS: 10 minutes in
all); every row is written as it comes. Stopped and typed again on the same commit, it goes on with
the sections that are not done. --size tiny tries all of it on a CPU.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

from benchmarks import decode, libraries, train_step
from benchmarks.libraries import SIZES

RESULTS = pathlib.Path(__file__).parent / "results"
LIMITS = {"right": 100, "attention": 130, "train": 170, "decode": 200}  # seconds
WEIGHTS, BATCHES, NEW, ROUNDS = (None, "int8", "int4"), (1, 8, 32), 32, 3
# Lengths of the image tower at 224, 448 and 896 pixels, and of rows with 64 to 512 text tokens.
LENGTHS = {"tower": (256, 1024, 4096), "decoder": (320, 384, 768, 1088, 1536, 4160)}
TOKENS = 16_384  # of a timed call of attention
CHECKED = 640  # tokens where kernels are compared: more than a tile
DONE = "done"
NEAR = 0.03  # the largest difference that is rounding to bfloat16, over the largest value
PROMPTS = ["caption en", "ocr", "answer en how many digits are there?", "detect 3 ; 7"]


def right(size):
  """Rows {"what", "off": the largest difference, over the largest value, "ok"}."""
  import jax
  import jax.numpy as jnp

  import big_vlm
  from big_vlm import sharding
  from big_vlm.nn import layer_matmul
  for part, length in (*((part, CHECKED) for part in LENGTHS), ("tower", LENGTHS["tower"][0])):
    want, inputs = attention(size, part, "einsum", length, batch=2)
    for kernel in kernels(part, length):
      call, _ = attention(size, part, kernel, length, batch=2)
      yield dict(what=f"{kernel}, {part}, {length} tokens, and its gradients",
                 **attempt(lambda call=call, want=want, inputs=inputs: near(
                     call(*inputs), want(*inputs))))
  x = jax.random.normal(jax.random.key(0), (8, 1, size.decoder["width"]), jnp.bfloat16)
  stack = jax.random.normal(jax.random.key(1), (2, 2, x.shape[-1], size.decoder["mlp"]),
                            jnp.bfloat16)
  layer = layer_matmul.OfLayer(stack, jnp.int32(1))
  yield dict(what="matmul of a layer in its stack", **attempt(lambda: near(
      layer.einsum("BTD,XDF->BTXF", x, jnp.float32),
      jnp.einsum("BTD,XDF->BTXF", x, stack[1], preferred_element_type=jnp.float32))))
  image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
  answers = []
  for place in (jax.devices()[0], jax.devices("cpu")[0]):
    mesh = sharding.make_mesh(devices=[place])
    with jax.set_mesh(mesh):
      vlm = big_vlm.from_preset("digits", mesh=mesh)
      answers.append([g.tokens for g in vlm.generate(PROMPTS, [image] * len(PROMPTS),
                                                     max_new_tokens=16)])
  here, there = answers
  equal = sum(a == b for a, b in zip(here, there))
  yield dict(what="answers of digits in float32, of those of the CPU", equal=equal,
             of=len(PROMPTS), ok=equal == len(PROMPTS))


def kernels(part, length):
  """The names of attention.KERNELS that this platform runs for so many tokens of a part."""
  from big_vlm.nn import attention, kernels, short_attention
  elsewhere = {"splash": "tpu", "short": "tpu", "cudnn": "gpu"}
  long = part != "tower" or length > short_attention.MAX_TOKENS
  return [k for k in attention.KERNELS if not (k == "short" and long)
          and elsewhere.get(k, kernels.platform()) == kernels.platform()]


def attention(size, part, kernel, length, batch):
  """(jitted q, k, v -> (output, gradients), [q, k, v]) as a layer of a part of the model has it."""
  import jax
  import jax.numpy as jnp

  from big_vlm.nn import attention
  c = getattr(size, part)
  few, dim = c.get("kv_heads", c["heads"]), c.get("head_dim", c["width"] // c["heads"])
  if part == "tower":
    mask = attention.bidirectional(kernel)
  else:  # the last 48 tokens are an answer
    at = jnp.broadcast_to(jnp.arange(length), (batch, length))
    tokens = attention.prefix_lm((at >= length - 48).astype(jnp.int32), at >= 0)
    mask = attention.masks(kernel, tokens, tokens)["global"]

  def both(*inputs):
    loss = lambda *x: (jnp.sum((out := attention.attend(*x, mask)).astype(jnp.float32) ** 2), out)
    (_, out), gradients = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(*inputs)
    return out, gradients
  keys = jax.random.split(jax.random.key(0), 3)
  inputs = [jax.random.normal(key, (batch, length, n, dim), size.dtype) * dim ** -.25
            for key, n in zip(keys, (c["heads"], few, few))]
  return jax.jit(both), inputs


def attention_times(size):
  """Rows {"part", "length", "kernel", "ms"}, then {"part", "kernel", "from"}."""
  import jax
  times = {}
  for part, length in ((p, n) for p, lengths in LENGTHS.items() for n in lengths):
    if size.cores and length > 1100:  # a dry run
      continue
    batch = max((128 if size.cores else TOKENS) // length, 1)
    for kernel in kernels(part, length):
      call, inputs = attention(size, part, kernel, length, batch)
      found = attempt(lambda call=call, inputs=inputs: dict(
          ms=1e3 * seconds(lambda: jax.block_until_ready(call(*inputs)))))
      times[part, length, kernel] = found.get("ms", np.inf)
      yield dict(part=part, length=length, batch=batch, kernel=kernel, **found)
  for part, kernel in dict.fromkeys((p, k) for p, _, k in times):
    lengths = sorted({n for p, n, k in times if (p, k) == (part, kernel)}, reverse=True)
    wins = [times[part, n, kernel] == min(times[part, n, k] for k in kernels(part, n)) < np.inf
            for n in lengths]
    first = wins.index(False) if False in wins else len(wins)
    yield {"part": part, "kernel": kernel, "from": lengths[first - 1] if first else None}


def train(size, batch=8):
  """Rows of benchmarks/train_step.py, with "mfu"."""
  from big_vlm.families import paligemma
  from big_vlm.planning import devices, flops
  name = next(n for n, s in SIZES.items() if s == size)
  with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder, "train.json")
    subprocess.run([sys.executable, "-m", "benchmarks.train_step", "--size", name, "--batch",
                    str(batch), "--rounds", "1", "--libraries", "big_vlm", "transformers",
                    "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    rows = json.loads(out.read_text())["rows"]
  config = paligemma.config(**libraries.our_config(size))
  work = batch * flops.per_example(config, train_step.TEXT)
  for library, row in rows.items():
    chip = devices.of_kind(row.get("device") or "")
    mfu = chip and work / row["s_per_step"] / chip.flops
    yield dict(library=library, batch=batch, mfu=mfu, **row)


def decoding(size):
  """Rows {"weights", "batch", "prefill_ms", "round_ms", "floor_ms", "promised_ms", "tokens_per_s"}.
  """
  import jax

  from big_vlm.adapt import quantize
  from big_vlm.planning import devices
  kind = jax.devices()[0].device_kind
  chip = devices.of_kind(kind)
  for weights in WEIGHTS:
    run, vlm = decode.our_model(size, weights)
    stored = quantize.nbytes(vlm.params["llm"])
    for batch in BATCHES if not size.cores else BATCHES[:1]:
      def measured(run=run, batch=batch):
        first, whole = seconds(lambda: run(batch, 1)), seconds(lambda: run(batch, NEW))
        return dict(prefill_ms=1e3 * first, round_ms=1e3 * (whole - first) / (NEW - 1),
                    tokens_per_s=batch * NEW / whole)
      floor = stored + decode.cache_bytes(size, batch)
      yield dict(weights=weights or size.dtype, batch=batch, **attempt(measured),
                 floor_ms=chip and 1e3 * floor / chip.bandwidth,
                 promised_ms=(promised(chip, weights or size.dtype, batch)
                              if size == SIZES["3b"] else None))
    del run, vlm


def promised(chip, weights, batch):
  """Milliseconds of a round by the device's compiler, as decode_compile.json has them, or None."""
  from big_vlm.planning import devices
  name = next((n for n, d in devices.DEVICES.items() if d == chip), None)
  rows = json.loads((RESULTS / "decode_compile.json").read_text())["rows"]
  row = next((rows[key] for place in (name, f"{name}:1x1") if (key := (
      f"google/paligemma-3b-pt-224 {weights} {batch} {place}")) in rows), None)
  return row and 1e3 * row["round"]["seconds"]


SECTIONS = {"right": right, "attention": attention_times, "train": train, "decode": decoding}


def attempt(measure):
  """What it measures; {"failed": the reason} where the device or a kernel refuses."""
  try:
    return measure()
  except Exception as e:  # out of memory, no such program: the other rows are worth having
    return {"failed": " ".join(str(e).split())[:200]}


def seconds(call):
  """The median of ROUNDS calls, after one that compiles."""
  taken = []
  for _ in range(1 + ROUNDS):
    began = time.perf_counter()
    call()
    taken.append(time.perf_counter() - began)
  return statistics.median(taken[1:])


def near(got, want):
  """How far arrays are apart at most, over the largest of theirs, and whether that is rounding."""
  import jax
  got, want = ([np.asarray(x, np.float32) for x in jax.tree.leaves(tree)] for tree in (got, want))
  off = float(np.max([np.abs(a - b).max() / np.abs(b).max() for a, b in zip(got, want)]))
  return dict(off=off, ok=off <= NEAR)  # a NaN is not


def run_section(name, size, section, save):
  """Fills the section's "rows" as its process prints them, and "ended": DONE, or why too early."""
  with tempfile.TemporaryFile("w+") as log:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.accelerator", "--child", name, "--size", size],
        stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
    # Processes that the section started hold the device too.
    end = lambda: os.killpg(process.pid, signal.SIGKILL)
    timer = threading.Timer(LIMITS[name], end)
    timer.start()
    try:
      for line in process.stdout:
        section["rows"].append(json.loads(line))
        print(f"{name}: {line.strip()}", flush=True)
        save()
      status, late = process.wait(), not timer.is_alive()
    finally:
      timer.cancel()
      with contextlib.suppress(ProcessLookupError):
        end()
    log.seek(0)
    section["ended"] = (f"not done after {LIMITS[name]} s" if late else DONE if not status else
                        f"ended with status {status}: {log.read()[-500:].strip()}")
    save()


def page(result):
  """The results as Markdown."""
  said = lambda value: "-" if value is None else (
      f"{value:.3g}" if isinstance(value, float) else str(value))
  lines = [f"# {result['device']}, {result['date']}, commit {result['commit']}", "",
           f"`make bench-accelerator`, size {result['size']}, jax {result['versions']['jax']}"]
  for name, section in result["sections"].items():
    lines += ["", f"## {name}: {section.get('ended', 'not done')}", ""]
    kinds = {}
    for row in section["rows"]:
      shown = {k: v for k, v in row.items() if not isinstance(v, list | dict)}
      kinds.setdefault(tuple(shown), []).append(shown)
    for head, rows in kinds.items():
      lines += ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
      lines += [f"| {' | '.join(map(said, row.values()))} |" for row in rows]
  return "\n".join(lines) + "\n"


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--size", choices=SIZES, default="3b")
  parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
  parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
  parser.add_argument("--child", choices=SECTIONS, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    answer, sys.stdout = sys.stdout, sys.stderr  # libraries print too
    for row in SECTIONS[args.child](SIZES[args.size]):
      print(json.dumps(row), file=answer, flush=True)
    return
  # JAX starts in the children alone: one process at a time may hold a TPU.
  device = subprocess.run([sys.executable, "-c", "import jax; print(jax.devices()[0].device_kind)"],
                          check=True, capture_output=True, text=True).stdout.split("\n")[-2]
  facts = libraries.circumstances(args.size, device, os.getloadavg())
  slug = re.sub(r"\W+", "-", device.lower()).strip("-")
  path = args.out / f"accelerator-{slug}.json"
  result = json.loads(path.read_text()) if path.exists() else {}
  if any(result.get(key) != facts[key] for key in ("commit", "size", "device")):
    result = facts | {"sections": {}}

  def save():
    args.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(result))
  for name in args.sections:
    if result["sections"].get(name, {}).get("ended") == DONE:
      print(f"{name}: done before", flush=True)
      continue
    section = result["sections"][name] = {"rows": []}
    run_section(name, args.size, section, save)
  print(f"{path}\n{path.with_suffix('.md')}")


if __name__ == "__main__":
  main()
