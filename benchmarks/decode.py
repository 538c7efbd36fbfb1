"""Greedy decoding side by side: big_vlm, KerasHub on JAX, transformers, of the same sizes.

  PARITY/python -m benchmarks.decode [--size small] [--batch 4] [--rounds 5] [--out FILE.json]
  PARITY/python -m benchmarks.decode --size 3b --batch 1 32        on a GPU

PARITY is .venv-parity/bin, which `make parity` sets up.

"small" is ViT-S/14 at 224 pixels with 8 Gemma layers, float32, on 2 CPU cores; "3b" is PaliGemma 3B
in bfloat16 on JAX's default device. Weights are random; there are 16 prompt tokens, one image per
prompt, 32 new tokens and no early stop. Each library runs in its own process, which waits while
another one is timed. All compile first and then take turns, round by round. The medians are:

  prefill ms   of a whole call of generate() for one token
  step ms      (a call for 32 tokens - a call for one) / 31
  tokens/s     batch * 32 / a call for 32 tokens
  of bandwidth the time to read the weights and the cache once, at the speed at which this machine
               sums 1 GiB, divided by the time of a step

The row of a library that is not installed says so.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import libraries
from benchmarks.libraries import SIZES

PROMPT, NEW = 16, 32
BYTES = {"float32": 4, "bfloat16": 2}
RESULTS = pathlib.Path(__file__).parent / "results"


def bytes_per_step(size, batch):
  """Bytes that a step reads: the decoder's matrices, and keys and values half-way to the end."""
  d = argparse.Namespace(**size.decoder)
  heads = 2 * d.heads * d.head_dim + 2 * d.kv_heads * d.head_dim
  weights = size.vocab * d.width + d.depth * d.width * (3 * d.mlp + heads)
  return weights * BYTES[size.dtype] + cache_bytes(size, batch)


def cache_bytes(size, batch):
  """Bytes of the keys and values of `batch` requests half-way to the end."""
  d = argparse.Namespace(**size.decoder)
  slots = size.image_tokens + PROMPT + NEW // 2
  return batch * slots * 2 * d.depth * d.kv_heads * d.head_dim * BYTES[size.dtype]


def inputs(size, batch):
  """(ids int64 [B, PROMPT], images uint8 [B, height, width, 3]), the same for all libraries."""
  rng = np.random.default_rng(0)
  ids = rng.integers(4, size.vocab - 1024, (batch, PROMPT))
  return ids, rng.integers(0, 256, (batch, size.image_size, size.image_size, 3), np.uint8)


def our_model(size, weights=None):
  """(function (batch, new) -> ids [B, new], VLM); weights: a row of quantize.KINDS, None: whole."""
  import jax

  from big_vlm import sharding, trees, vlm
  from big_vlm.checkpoints.load import dtype_of
  from big_vlm.families import paligemma
  model = libraries.our_model(size)

  @jax.jit
  def params():
    tree = paligemma.init_params(model, jax.random.key(0))
    return trees.map_with_names(lambda name, x: x.astype(dtype_of(name, size.dtype)), tree)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  ours = vlm.VLM(model, params(), None, mesh, None, "random")
  ours = ours.quantize(weights) if weights else ours

  def run(batch, new):
    ids, images = inputs(size, batch)
    found = ours.generate(ids.tolist(), list(images), max_new_tokens=new, stop=())
    return np.array([g.tokens for g in found])
  return run, ours


def big_vlm(size):
  """Returns (function (batch, new) -> ids [B, new], number of parameters), as all LIBRARIES do."""
  import jax
  run, ours = our_model(size)
  return run, sum(x.size for x in jax.tree.leaves(ours.params))


def keras_hub(size):
  model = libraries.keras_model(size)
  model.compile(sampler="greedy")

  def run(batch, new):
    ids, images = inputs(size, batch)
    valid = np.zeros((batch, PROMPT + new), np.int32)
    valid[:, :PROMPT] = 1
    out = model.generate({"token_ids": np.pad(ids, ((0, 0), (0, new))).astype(np.int32),
                          "padding_mask": valid,
                          "images": images.astype(np.float32) / 127.5 - 1}, stop_token_ids=None)
    return np.asarray(out["token_ids"])[:, PROMPT:]
  return run, sum(int(np.prod(v.shape)) for v in model.weights)


def transformers(size):
  import torch
  model, device, image_token = libraries.hf_model(size)
  model.eval()
  model.generation_config.eos_token_id = None

  def run(batch, new):
    ids, images = inputs(size, batch)
    text = np.pad(ids, ((0, 0), (size.image_tokens, 0)), constant_values=image_token)
    text = torch.tensor(text, device=device)
    pixels = torch.tensor(images, device=device).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
    with torch.inference_mode():
      out = model.generate(
          input_ids=text, attention_mask=torch.ones_like(text),
          token_type_ids=torch.zeros_like(text), pixel_values=pixels.to(model.dtype),
          do_sample=False, max_new_tokens=new, pad_token_id=0)
    return out[:, text.shape[1]:].cpu().numpy()
  return run, sum(p.numel() for p in model.parameters())


LIBRARIES = {"big_vlm": big_vlm, "keras_hub": keras_hub, "transformers": transformers}


def bandwidth():
  """{"device", "bandwidth"}; bandwidth is in bytes/s, the best of 10 sums over 1 GiB."""
  import jax
  import jax.numpy as jnp
  x = jax.device_put(np.ones(2**28, np.float32))
  total = jax.jit(jnp.sum)
  seconds = []
  for _ in range(11):
    began = time.perf_counter()
    total(x).block_until_ready()
    seconds.append(time.perf_counter() - began)
  return {"device": jax.devices()[0].device_kind, "bandwidth": x.nbytes / min(seconds)}


def serve(library, size):
  """Times one call for each line "batch new" on stdin and writes its seconds to stdout."""
  answers, sys.stdout = sys.stdout, sys.stderr  # libraries print too
  say = lambda **kw: print(json.dumps(kw), file=answers, flush=True)
  try:
    if library == "bandwidth":
      return say(**bandwidth())
    run, parameters = LIBRARIES[library](SIZES[size])
  except ImportError as e:
    return say(missing=str(e))
  say(parameters=parameters)
  for line in sys.stdin:
    batch, new = map(int, line.split())
    began = time.perf_counter()
    shape = run(batch, new).shape
    seconds = time.perf_counter() - began
    assert shape == (batch, new), shape
    say(seconds=seconds)


class Server:
  """The process of one library."""

  def __init__(self, library, size):
    self._log = tempfile.TemporaryFile("w+")
    self._process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.decode", "--serve", library, "--size", size],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"})  # several share a GPU
    self.facts = self._read()

  def _read(self):
    line = self._process.stdout.readline()
    if not line:
      self._log.seek(0)
      raise RuntimeError(self._log.read()[-3000:])
    return json.loads(line)

  def seconds(self, batch, new):
    print(batch, new, file=self._process.stdin, flush=True)
    return self._read()["seconds"]

  def close(self):
    self._process.communicate()


def measure(args, batch):
  """{library: row} of one batch size."""
  rows, servers = {}, {}
  try:
    for name in args.libraries:
      server = Server(name, args.size)
      if "missing" in server.facts:
        rows[name] = server.facts
        server.close()
      else:
        servers[name] = server
    times = {name: {1: [], NEW: []} for name in servers}
    for round_ in range(-1, args.rounds):  # the first compiles
      for name, server in servers.items():
        for new in (1, NEW):
          seconds = server.seconds(batch, new)
          if round_ >= 0:
            times[name][new].append(seconds)
        print(f"round {round_ + 1} of {args.rounds}  {name:13s} {seconds:.2f} s", file=sys.stderr,
              flush=True)
  finally:
    for server in servers.values():
      server.close()
  for name, taken in times.items():
    prefill, whole = (statistics.median(taken[n]) for n in (1, NEW))
    rows[name] = {"tokens_per_s": batch * NEW / whole, "prefill_ms": prefill * 1e3,
                  "step_ms": (whole - prefill) / (NEW - 1) * 1e3, "seconds": taken,
                  **servers[name].facts}
  return {name: rows[name] for name in args.libraries}


def report(result):
  lines = []
  for batch, rows in result["rows"].items():
    lines += [f"batch {batch}; {result['device']}; load {result['load']}",
              "               tokens/s  x slower  prefill ms  step ms  of bandwidth"]
    first = next((r for r in rows.values() if "missing" not in r), None)
    for name, row in rows.items():
      if "missing" in row:
        lines.append(f"{name:14s} not installed: {row['missing']}")
        continue
      share = result["floor_ms"][batch] / row["step_ms"]
      speed = row["tokens_per_s"]
      lines.append(f"{name:14s} {speed:8.1f}  {first['tokens_per_s'] / speed:8.2f}  "
                   f"{row['prefill_ms']:10.0f}  {row['step_ms']:7.1f}  {share:11.0%}")
  return "\n".join(lines)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--size", choices=SIZES, default="small")
  parser.add_argument("--batch", type=int, nargs="+", default=[4])
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
  parser.add_argument("--out", type=pathlib.Path)
  parser.add_argument("--serve", help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.serve:
    return serve(args.serve, args.size)
  size = SIZES[args.size]
  libraries.pin_cores(size)
  load = [round(x, 2) for x in os.getloadavg()]
  probe = Server("bandwidth", args.size)
  probe.close()
  speed = probe.facts["bandwidth"]
  rows = {batch: measure(args, batch) for batch in args.batch}
  result = {
      **libraries.circumstances(args.size, probe.facts["device"], load),
      "bandwidth_GB_per_s": round(speed / 1e9, 1),
      "floor_ms": {b: bytes_per_step(size, b) / speed * 1e3 for b in rows},
      "prompt": PROMPT, "new": NEW, "rows": rows}
  print(report(result))
  out = args.out or RESULTS / f"decode_{args.size}.json"
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
  main()
