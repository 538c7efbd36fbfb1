"""Compiles a config's training step for a device that need not be here; reports time and memory.

For a TPU topology the TPU compiler itself makes the program. For a GPU or a CPU, a program for the
same number of CPU devices stands in, and tools/planning/roofline.py estimates the time of each of
its instructions.

  python -m tools.planning.measure RESULT.json < request     (tools/plan.py starts it)

A request is the repr of a dict: "config" (nested dicts) and the other arguments of `measure`. It
runs in a process of its own, because JAX sets its backend once per process.
"""
import math
import pathlib
import re
import time

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from big_vlm import families, sharding
from big_vlm.data import packing
from big_vlm.nn import kernels, short_attention
from big_vlm.planning import devices, flops, memory
from big_vlm.training import losses, optim, policy, setup, sigmoid
from tools.planning import child, gpu, program, roofline

# Hz of a generation's matrix units; they turn the compiler's cycles into seconds. The 4 units of a
# v5e, each of 128 x 128 multiply-adds, reach its 197 TFLOP/s at 1.5 GHz.
CLOCK = {"v4": 1.05e9, "v5e": 1.5e9, "v5p": 1.75e9, "v6e": 1.75e9}
# Bytes/s into a chip over all its links to other chips, as Google publishes them.
NETWORK = {"v4": 300e9, "v5e": 200e9, "v5p": 600e9, "v6e": 448e9}
# The compiler does not estimate Pallas kernels. Their FLOPs are priced at this part of the peak.
KERNEL_RATE = 0.5


def measure(config, topology=None, device=None, count=1, text_len=64, images=1, save=None):
  """Compiles the training step of a config and returns its costs as a dict of plain values.

  Args:
    config: of a training run, as nested dicts.
    topology: TPU chips, such as "v5e:16x16"; needs libtpu.
    device: instead of topology, a row of big_vlm/planning/devices.py, or "cpu".
    count: number of devices; a topology has its own.
    text_len: text tokens of a row that the model reads.
    images: images of a row.
    save: file for the text of the compiled program.

  Returns:
    The keys at the end of this function. A program that does not fit into the memory has "failed",
    the compiler's message, and no times.

  Raises:
    ValueError: the config does not fit the devices, or the topology is unknown.
  """
  config = ml_collections.ConfigDict(config)
  row, targets, compiler = find_devices(topology, device, count)
  notes = []
  s = setup.make(config, targets, note=notes.append)
  batch = batch_shapes(config, s, text_len, images)
  state = jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
                       s.shapes, s.shardings)
  each, rows = config.input.batch_size // packing.rows(config), policy.rows(config)
  out = {"compiler": compiler, "devices": s.mesh.size, "mesh": dict(s.mesh.shape),
         "batch": config.input.batch_size, "rows": rows,
         "grad_accum_steps": config.grad_accum_steps, "text_len": text_len, "images": images,
         "notes": notes,
         "limit": row.memory * row.usable,
         "tokens": flops.tokens(s.model.config, text_len, images)}
  with jax.set_mesh(s.mesh):
    part = rows // config.grad_accum_steps
    trips = {rf"{losses.LOOP}\)*/while$": losses.most_iterations(part, text_len)}
    out["static"] = memory.static(s, batch, config.grad_accum_steps)
    if (tune := policy.Settings.of(config)) and tune.has_reference:
      batch["reference"] = optim.partition(state.params, s.optimizer.trainable)[0]
      out["static"]["parameters of the start"] = out["static"]["gradients"]  # as many
    began = time.perf_counter()
    try:
      compiled = s.step.lower(state, batch).compile()
    except Exception as e:  # JaxRuntimeError; other errors are raised again
      if "RESOURCE_EXHAUSTED" not in str(e):
        raise
      return out | {"failed": str(e).splitlines()[0], "fits": False,
                    "memory": {"total": memory.required(str(e), out["static"])}}
    out["compile_seconds"] = time.perf_counter() - began
  text = compiled.as_text()
  if save:
    pathlib.Path(save).write_text(text)
  if topology:
    generation = topology.split(":")[0]
    prices = kernel_cycles(s.model.config, text_len, images, row.flops, CLOCK[generation], each)
    costs = program.costs(text, trips, prices)
    seconds = lambda cost: cost.cycles / CLOCK[generation]
  else:
    costs = program.costs(text, trips)
    if device != "cpu" and not compiler:
      # Instructions without a source are a CPU's copies of matmul operands.
      costs = [cost for cost in costs if cost.source]
    times = roofline.seconds(text, costs, row, row.tf32 if compiler else 1)
    seconds = lambda cost: times[cost.name]
  step = sum(map(seconds, costs))
  per_device = rows / s.mesh.size
  model_flops = per_device * each * flops.per_example(
      s.model.config, text_len / each, images / each, rows, optim.weight_flops(s.optimizer))
  by_category = dict.fromkeys(program.CATEGORIES, 0.)
  by_place, parts = {}, places(s.model.config)
  for cost in costs:
    by_category[cost.category] += seconds(cost)
    name = place(cost.source, parts)
    by_place[name] = by_place.get(name, 0.) + seconds(cost)
  used, moved = program.memory(compiled), program.collectives(costs)
  return out | {
      "memory": used,  # bytes per device
      "fits": used["total"] <= out["limit"],
      "step_seconds": step,
      "tokens_per_second": per_device * out["tokens"] / step,  # per device
      "mfu": model_flops / step / row.flops,
      "seconds": by_category,
      "where": dict(sorted(by_place.items(), key=lambda item: -item[1])),
      "collectives": moved,  # {kind: (runs, bytes)}
      # A lower bound. An all-reduce is a reduce-scatter and an all-gather.
      "network_seconds": topology and sum(
          n * (1 + (kind == "all-reduce")) for kind, (_, n) in moved.items()) / NETWORK[generation],
  }


def find_devices(topology=None, device=None, count=1):
  """(row of devices.DEVICES, devices to compile for, what compiles for them or None).

  None: a program for CPUs stands in for one of a GPU.
  """
  if topology:
    return devices.find(topology.split(":")[0]), tpu_devices(topology), child.tpu_compiler()
  if child.uses_gpu_compiler(device):
    return devices.find(device), gpu.gpu_devices(device, count), gpu.compiler()
  return devices.find(device), jax.devices()[:count], None


def tpu_devices(topology):
  """Descriptions of the chips of a topology such as "v5e:16x16"; needs libtpu."""
  from jax.experimental import topologies
  shape = [int(n) for n in re.findall(r"\d+", topology.partition(":")[2])]
  # A host has four chips unless it is told otherwise: Colab lends one.
  few = {"chips_per_host_bounds": [*shape, 1][:3]} if math.prod(shape) < 4 else {}
  try:
    return topologies.get_topology_desc(topology, "tpu", **few).devices
  except Exception as e:
    raise ValueError(f"The TPU compiler does not know the topology {topology!r}: "
                     f"{str(e).splitlines()[0]}. "
                     "Give a generation and a shape of chips, such as v5e:4x4, v5p:2x2x1, "
                     "v6e:16x16.") from e


def batch_shapes(config, s, text_len, images):
  """{key: ShapeDtypeStruct} of a training batch on the mesh; the model reads text_len text tokens
  of a row, and a row has `images` images."""
  rows, where = policy.rows(config), sharding.batch_sharding(s.mesh)
  like = lambda shape, dtype: jax.ShapeDtypeStruct((rows, *shape), dtype, sharding=where)
  packed, pairs = config.input.packing == "pack", s.model.config.llm is None
  keys = ("text",) if pairs else (*packing.TEXT_KEYS, *["segment"] * packed)
  batch = {key: like((text_len + (not pairs),), jnp.int32) for key in keys}
  if s.model.config.img and images:
    side = s.model.config.img.image_size
    frames = (images,) if images > 1 or packed else ()
    batch["image"] = like((*frames, side, side, 3), jnp.uint8)
    if packed:
      batch["image_segment"] = like((images,), jnp.int32)
  if (tune := policy.Settings.of(config)) and tune.rewards:
    batch["advantage"] = like((), jnp.float32)
  return batch


def kernel_cycles(config, text_len, images, peak, clock, examples=1):
  """Returns a function Cost -> cycles that prices a Pallas attention kernel, for program.costs.

  A forward kernel takes 4 x batch x heads x visible pairs x head dim FLOPs. A backward kernel takes
  2.5 times that, because it computes the logits again. Both run at KERNEL_RATE of the peak. In the
  image tower all pairs are visible; in the decoder, the pairs of a text that is all suffix. Of a
  row of several examples, taken to be of one length, the pairs of the tiles that splash computes.
  """
  total = flops.tokens(config, text_len, images)
  seen = (total - text_len) * total + text_len * (text_len + 1) // 2
  seen = seen if examples == 1 else tiles_of_row(total, examples)

  def cycles(cost):
    # The first operand is the queries, [B, N, T, H], or [N, T, H] for a batch of 1.
    *many, length, dim = map(int, re.search(r"\[([\d,]+)\]", cost.operands[0])[1].split(","))
    if short_attention.NAME in cost.name:  # [B, N * H, T]
      length, dim = dim, length
    pairs = length * length if re.search("/(img|txt)/", cost.source) else seen
    backward = re.search("dkv|dq|bwd|backward", cost.name)
    return (2.5 if backward else 1) * 4 * math.prod(many) * pairs * dim / (
        KERNEL_RATE * peak) * clock
  return cycles


def tiles_of_row(total, examples):
  """Pairs in the tiles that splash computes of a row of `total` tokens."""
  tile, number = kernels.tile_of(total), np.arange(total) * examples // total
  edge = lambda number: -(-number * total // examples)
  columns = edge(number), edge(number + 1) - 1, np.ones(total, bool)
  (_, runs), _ = kernels.tiles_to_run(*(np.pad(x, (0, -total % tile)) for x in columns), tile)
  return int(runs.sum()) * tile * tile


def places(config):
  """((part of the model, regex over the names of its operations), ...); the first match counts."""
  of = {"tower": config.img, "text tower": config.txt, "decoder": config.llm}
  parts = ((f"{part}: {what}", regex) for part, c in of.items() if c
           for what, regex in families.of(c).PLACES)
  return (*parts, ("head and loss", rf"{losses.LOOP}|{sigmoid.SCOPE}|logits"),
          ("embedding", "embedder"))


def place(source, places):
  found = next((name for name, regex in places if re.search(regex, source)), None)
  return found or ("optimizer and other" if source else "copies without a source")


if __name__ == "__main__":
  child.answer(measure)
