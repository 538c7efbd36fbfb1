"""A training step side by side: big_vlm, KerasHub on JAX, transformers, of the same sizes.

  PARITY/python -m benchmarks.train_step [--size small] [--batch 4] [--rounds 2] [--steps 4]
  PARITY/python -m benchmarks.train_step --size 3b --batch 8 --libraries big_vlm transformers

PARITY is .venv-parity/bin, which `make parity` sets up.

That they take the same gradients is benchmarks/gradients.py's to say.

"small" is ViT-S/14 at 224 pixels with 8 Gemma layers and a vocabulary of 257,152, float32, on 2 CPU
cores; "3b" is PaliGemma 3B on a GPU, weights and moments in float32, products in bfloat16. Weights
are random, 64 text tokens, the second half of them supervised, AdamW on all parameters, nothing
frozen, no dropout, no clipping. Each library has a process of its own, one after the other and that
round by round: it compiles, takes a step that does not count, then the steps that do. A step ends
when its loss is on the host. Reported over all rounds:

  s/step    median
  tokens/s  batch * (image tokens + 64) / s/step
  peak GiB  the most that the process held at any time (ru_maxrss), compiling included; on a GPU of
            the card's memory
  loss      of the first step that counts: fresh weights differ, so that it is near log(vocabulary)

big_vlm runs trainers.train's own step with the defaults of its configs, which make activations
again for the gradient. transformers and KerasHub run as their documentation has it: they keep them,
and transformers has torch's fused AdamW, as its Trainer. A library that is not installed has a row
that says so. Nothing was run with "3b" yet: no GPU was at hand.
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import libraries
from benchmarks.libraries import SIZES

TEXT, LR, DECAY = 64, 1e-5, 0.01
RESULTS = pathlib.Path(__file__).parent / "results"


def inputs(size, batch):
  """(ids int64 [B, TEXT], images uint8 [B, H, W, 3], supervised bool [TEXT]), the same for all."""
  rng = np.random.default_rng(0)
  ids = rng.integers(4, size.vocab - 1024, (batch, TEXT))
  images = rng.integers(0, 256, (batch, size.image_size, size.image_size, 3), np.uint8)
  return ids, images, np.arange(TEXT) >= TEXT // 2


def our_batch(size, batch):
  ids, images, supervised = inputs(size, batch)
  mask = np.broadcast_to(supervised, ids.shape).astype(np.int32)
  return dict(text=ids.astype(np.int32), mask_ar=mask, mask_loss=mask, image=images)


def big_vlm(size, batch, remat):
  """(function of no argument that takes a step and returns its loss, facts): of each library."""
  sys.modules["torch"] = None  # tensorboardX would load it; where big_vlm runs there need be none
  import jax

  from big_vlm import compilation, sharding
  from big_vlm.training import setup
  from configs import common
  parts = libraries.our_config(size)
  for part in parts.values():
    part["remat"] = remat or "full"
  config = common.train(model=dict(dtype=size.dtype, **parts), total_steps=1000)
  config.input.batch_size = batch
  config.optimizer.update(dict(lr=LR, weight_decay=DECAY, clip_norm=0.))
  built = setup.make(config, jax.devices()[:1])
  jax.set_mesh(built.mesh)
  state = setup.start(config, built)
  data = our_batch(size, batch)
  compilation.compile_ahead(built.step, state, sharding.make_global_array(built.mesh, data))

  def step():
    nonlocal state
    state, metrics = built.step(state, sharding.make_global_array(built.mesh, data))
    return float(metrics["loss"])
  return step, dict(parameters=sum(x.size for x in jax.tree.leaves(built.shapes.params)),
                    device=jax.devices()[0].device_kind, gpu=_jax_peak)


def keras_hub(size, batch, remat):
  del remat
  model = libraries.keras_model(size)
  import keras
  if size.dtype != "float32":
    raise NotImplementedError("KerasHub is measured in float32 alone")
  model.compile(
      optimizer=keras.optimizers.AdamW(LR, weight_decay=DECAY), weighted_metrics=[],
      loss=keras.losses.SparseCategoricalCrossentropy(
          from_logits=True, reduction="mean_with_sample_weight"))
  ids, images, supervised = inputs(size, batch)
  shift = lambda x: np.roll(x, -1, axis=-1)
  weights = shift(supervised) * (np.arange(TEXT) < TEXT - 1)
  data = dict(x={"token_ids": ids.astype(np.int32), "images": images.astype(np.float32) / 127.5 - 1,
                 "padding_mask": np.ones(ids.shape, np.int32),
                 "response_mask": np.broadcast_to(supervised, ids.shape).astype(np.int32)},
              y=shift(ids), sample_weight=np.broadcast_to(weights, ids.shape).astype(np.float32))
  return lambda: float(model.train_on_batch(**data)), dict(
      parameters=sum(int(np.prod(v.shape)) for v in model.trainable_weights), gpu=_jax_peak)


def transformers(size, batch, remat):
  import dataclasses

  import torch
  model, device, image_token = libraries.hf_model(dataclasses.replace(size, dtype="float32"))
  model.train()
  if remat == "full":
    model.gradient_checkpointing_enable()
  optimizer = torch.optim.AdamW(model.parameters(), LR, weight_decay=DECAY, fused=True)
  data = hf_batch(size, batch, image_token, device)
  low = torch.autocast(device, torch.bfloat16, enabled=size.dtype == "bfloat16")

  def step():
    with low:
      loss = model(**data).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss)
  peak = (lambda: torch.cuda.max_memory_allocated()) if device == "cuda" else (lambda: None)
  return step, dict(parameters=sum(p.numel() for p in model.parameters()), gpu=peak,
                    device=torch.cuda.get_device_name() if device == "cuda" else "cpu")


def hf_batch(size, batch, image_token, device):
  import torch
  ids, images, supervised = inputs(size, batch)
  before = ((0, 0), (size.image_tokens, 0))
  kinds = np.pad(np.broadcast_to(supervised, ids.shape).astype(np.int64), before)
  text = np.pad(ids, before, constant_values=image_token)
  pixels = torch.tensor(images).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
  arrays = dict(input_ids=text, attention_mask=np.ones_like(text), token_type_ids=kinds,
                labels=np.where(kinds, text, -100))
  return {k: torch.tensor(x, device=device) for k, x in arrays.items()} | {
      "pixel_values": pixels.to(device)}


LIBRARIES = {"big_vlm": big_vlm, "keras_hub": keras_hub, "transformers": transformers}


def _jax_peak():
  import jax
  stats = jax.local_devices()[0].memory_stats()
  return stats and stats.get("peak_bytes_in_use")


def run(library, size, batch, remat, steps):
  """The facts of one process of one library."""
  try:
    step, facts = LIBRARIES[library](size, batch, remat)
  except (ImportError, NotImplementedError) as e:
    return dict(missing=str(e))
  seconds, losses = [], []
  for i in range(-1, steps):  # the first compiles
    began = time.perf_counter()
    loss = step()
    if i >= 0:
      seconds.append(time.perf_counter() - began)
      losses.append(loss)
  peak = facts.pop("gpu")() or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return dict(facts, seconds=seconds, loss=losses[0], peak_bytes=peak)


def measure(args):
  """{library: row} over all rounds."""
  taken = {}
  for round_ in range(args.rounds):
    for name in args.libraries:
      if "missing" in taken.get(name, [{}])[0]:
        continue
      one = child(name, args)
      taken.setdefault(name, []).append(one)
      print(f"round {round_ + 1} of {args.rounds}  {name:13s} "
            f"{one.get('missing') or ' '.join(f'{s:.2f}' for s in one['seconds'])}",
            file=sys.stderr, flush=True)
  size, rows = SIZES[args.size], {}
  for name, runs in taken.items():
    rows[name] = runs[0]
    if "missing" not in runs[0]:
      seconds = [r["seconds"] for r in runs]
      step = statistics.median(sum(seconds, []))
      rows[name] = runs[0] | {
          "seconds": seconds, "s_per_step": step,
          "tokens_per_s": args.batch * (size.image_tokens + TEXT) / step,
          "peak_bytes": max(r["peak_bytes"] for r in runs)}
  return rows


def child(name, args):
  """The facts that `run` finds in a process of its own."""
  with tempfile.TemporaryFile("w+") as log:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train_step", "--child", name, "--size", args.size,
         "--batch", str(args.batch), "--steps", str(args.steps),
         *(["--remat", args.remat] if args.remat else [])],
        stdout=subprocess.PIPE, stderr=log, text=True)
    if done.returncode:
      log.seek(0)
      return dict(missing=" ".join(log.read()[-1000:].split()))
  return json.loads(done.stdout)


def report(result):
  lines = [f"batch {result['batch']}; {result['device']}; load {result['load']}",
           "                  s/step  x slower  tokens/s  peak GiB  x more     loss"]
  first = next((r for r in result["rows"].values() if "missing" not in r), None)
  for name, row in result["rows"].items():
    if "missing" in row:
      lines.append(f"{name:14s} not here: {row['missing']}")
      continue
    lines.append(
        f"{name:14s} {row['s_per_step']:9.3f}  {row['s_per_step'] / first['s_per_step']:8.2f}  "
        f"{row['tokens_per_s']:8.1f}  {row['peak_bytes'] / 2**30:8.2f}  "
        f"{row['peak_bytes'] / first['peak_bytes']:6.2f}  {row['loss']:7.4f}")
  return "\n".join(lines)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--size", choices=SIZES, default="small")
  parser.add_argument("--batch", type=int, default=4)
  parser.add_argument("--rounds", type=int, default=2)
  parser.add_argument("--steps", type=int, default=4)
  parser.add_argument("--remat", choices=("full", "none"), help="whether activations are made "
                      "again for the gradient; default: as the library does, with 3b full in all")
  parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
  parser.add_argument("--out", type=pathlib.Path)
  parser.add_argument("--child", help=argparse.SUPPRESS)
  args = parser.parse_args()
  size = SIZES[args.size]
  args.remat = args.remat or ("full" if args.size == "3b" else None)
  if args.child:
    answer, sys.stdout = sys.stdout, sys.stderr  # libraries print what they like
    return print(json.dumps(run(args.child, size, args.batch, args.remat, args.steps)),
                 file=answer)
  libraries.pin_cores(size)
  load = [round(x, 2) for x in os.getloadavg()]
  rows = measure(args)
  device = next((r["device"] for r in rows.values() if r.get("device")), "unknown")
  result = {**libraries.circumstances(args.size, device, load), "batch": args.batch, "text": TEXT,
            "supervised": TEXT // 2, "remat": args.remat or "defaults", "rows": rows}
  print(report(result))
  out = args.out or RESULTS / f"train_step_{args.size}.json"
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
  main()
