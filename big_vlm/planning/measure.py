"""Compiles a config's training step and reports what it costs on a device that need not be here.

A TPU program is made by the TPU compiler itself for a named topology. For a GPU, or a CPU of other
size, the program for as many CPU devices stands in: each of its instructions takes the longer of
its arithmetic and its memory traffic at the device's rates. Those are estimates and say so.

  python -m big_vlm.planning.measure RESULT.json < request     (tools/plan.py starts it)

A request is the repr of a dict: config (nested dicts), topology or device and devices, text_len,
images. It runs in a process of its own because JAX's backend is set once per process.
"""
import ast
import json
import math
import os
import pathlib
import re
import sys
import time

import jax
import jax.numpy as jnp
import ml_collections

from big_vlm import families, sharding
from big_vlm.planning import devices, flops, memory, program, roofline
from big_vlm.training import losses, setup

# Hz of a generation's matrix units: what turns the compiler's cycles into seconds. 4 units of 128 x
# 128 multiply-adds at 1.5 GHz are v5e's 197 TFLOP/s, and likewise the others.
CLOCK = {"v4": 1.05e9, "v5e": 1.5e9, "v5p": 1.75e9, "v6e": 1.75e9}
# Bytes/s into a chip over all its links to the others (the makers' figures).
WIRE = {"v4": 300e9, "v5e": 200e9, "v5p": 600e9, "v6e": 448e9}
# A Pallas kernel has no estimate by the compiler: its FLOPs count at half of the peak.
KERNEL_RATE = 0.5


def measure(config, topology=None, device=None, count=1, text_len=64, images=1, save=None):
  """A dict of plain values; see the keys at the end.

  Raises ValueError where the config does not fit the devices; where its program does not fit the
  memory, the result has "failed" and no times.
  """
  if topology:
    generation = topology.split(":")[0]
    row, targets = devices.find(generation), tpu_devices(topology)
  else:
    row, targets = devices.find(device), jax.devices()[:count]
  notes = []
  s = setup.make(config, targets, note=notes.append)
  batch = batch_shapes(config, s, text_len + 1, images)
  state = jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
                       s.shapes, s.shardings)
  out = {"devices": s.mesh.size, "mesh": dict(s.mesh.shape), "batch": config.input.batch_size,
         "grad_accum_steps": config.grad_accum_steps, "text_len": text_len, "images": images,
         "notes": [n for n in notes if not n.startswith("replicated: opt_state")],
         "limit": row.memory * row.usable,
         "tokens": flops.tokens(s.model.config, text_len, images)}
  with jax.set_mesh(s.mesh):
    rows = config.input.batch_size // config.grad_accum_steps
    iterations = losses.most_iterations(rows, text_len)
    out["known"] = memory.known(s, batch, config.grad_accum_steps)
    began = time.perf_counter()
    try:
      compiled = s.step.lower(state, batch).compile()
    except Exception as e:  # jaxlib's own class; anything else is raised again
      if "RESOURCE_EXHAUSTED" not in str(e):
        raise
      return out | {"failed": str(e).splitlines()[0], "fits": False,
                    "memory": {"total": memory.wanted(str(e), out["known"])}}
    out["compile_seconds"] = time.perf_counter() - began
  text = compiled.as_text()
  if save:
    pathlib.Path(save).write_text(text)
  trips = {rf"{losses.LOOP}\)*/while$": iterations}
  if topology:
    kernels = kernel_cycles(s.model.config, text_len, images, row.flops, CLOCK[generation])
    costs = program.costs(text, trips, kernels)
    seconds = lambda cost: cost.cycles / CLOCK[generation]
  else:
    costs = program.costs(text, trips)
    if device != "cpu":  # what only a CPU does: it copies and converts operands of its products
      costs = [cost for cost in costs if cost.source]
    times = roofline.seconds(text, costs, row)
    seconds = lambda cost: times[cost.name]
  step = sum(map(seconds, costs))
  per_device = config.input.batch_size / s.mesh.size
  needed = per_device * flops.per_example(s.model.config, text_len, images)
  split = dict.fromkeys((program.MATMUL, program.KERNEL, program.OTHER, program.COLLECTIVE), 0.)
  where, parts = {}, places(s.model.config)
  for cost in costs:
    split[cost.category] += seconds(cost)
    name = place(cost.source, parts)
    where[name] = where.get(name, 0.) + seconds(cost)
  used, moved = program.memory(compiled), program.collectives(costs)
  return out | {
      "memory": used,  # bytes per device
      "fits": used["total"] <= out["limit"],
      "step_seconds": step,
      "tokens_per_second": per_device * out["tokens"] / step,  # per device
      "mfu": needed / step / row.flops,
      "seconds": split,  # by category
      "where": dict(sorted(where.items(), key=lambda item: -item[1])),
      "collectives": moved,  # {kind: (runs, bytes)}
      # An all-reduce is a reduce-scatter and an all-gather.
      "wire_seconds": topology and sum(
          n * (1 + (kind == "all-reduce")) for kind, (_, n) in moved.items()) / WIRE[generation],
  }


def tpu_devices(topology):
  """Descriptions of a topology's chips, such as "v5e:16x16"; needs libtpu."""
  from jax.experimental import topologies
  try:
    return topologies.get_topology_desc(topology, "tpu").devices
  except Exception as e:
    raise ValueError(f"The TPU compiler knows no topology {topology!r}: {str(e).splitlines()[0]}. "
                     "Give a generation and a shape of chips, such as v5e:4x4, v5p:2x2x1, "
                     "v6e:16x16.") from e


def batch_shapes(config, s, length, images):
  """{key: ShapeDtypeStruct} of a training batch with text of so many tokens, on the mesh."""
  rows, where = config.input.batch_size, sharding.batch_sharding(s.mesh)
  like = lambda shape, dtype: jax.ShapeDtypeStruct((rows, *shape), dtype, sharding=where)
  batch = {key: like((length,), jnp.int32) for key in ("text", "mask_ar", "mask_loss")}
  if s.model.config.img and images:
    side = s.model.config.img.image_size
    frames = (images,) if images > 1 else ()
    batch["image"] = like((*frames, side, side, 3), jnp.uint8)
  return batch


def kernel_cycles(config, text_len, images, peak, clock):
  """The function for program.costs that prices a Pallas attention kernel.

  4 x batch x heads x visible pairs x head dim FLOPs forward, 2.5 times that backward, where the
  logits are made once more, at KERNEL_RATE of the peak. Pairs: all of the tower's; of the decoder's
  those that see each other when all text is suffix.
  """
  total = flops.tokens(config, text_len, images)
  seen = (total - text_len) * total + text_len * (text_len + 1) // 2

  def cycles(cost):
    # The first operand is the queries, [batch, heads, length, head dim] or without a batch of 1.
    *many, length, dim = map(int, re.search(r"\[([\d,]+)\]", cost.operands[0])[1].split(","))
    pairs = length * length if "/img/" in cost.source else seen
    backward = re.search("dkv|dq|bwd|backward", cost.name)
    return (2.5 if backward else 1) * 4 * math.prod(many) * pairs * dim / (
        KERNEL_RATE * peak) * clock
  return cycles


def places(config):
  """((part of the model, regex over the names of its operations), ...); the first match counts."""
  of = {"tower": config.img, "decoder": config.llm}
  parts = ((f"{part}: {what}", regex) for part, c in of.items() if c
           for what, regex in families.of(c).PLACES)
  return (*parts, ("head and loss", rf"{losses.LOOP}|logits"), ("embedding", "embedder"))


def place(source, places):
  found = next((name for name, regex in places if re.search(regex, source)), None)
  return found or ("optimizer and other" if source else "copies without a source")


if __name__ == "__main__":
  request = ast.literal_eval(sys.stdin.read())
  config = ml_collections.ConfigDict(request.pop("config"))
  try:
    result = measure(config, **request)
  except ValueError as e:
    result = {"error": str(e)}
  temporary = pathlib.Path(sys.argv[1] + ".tmp")
  temporary.write_text(json.dumps(result))
  os.replace(temporary, sys.argv[1])
