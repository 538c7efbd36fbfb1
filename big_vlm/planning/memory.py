"""What a training step keeps in a device's memory, and the table of it.

Parameters, optimizer state, gradients, batch and logits follow from shapes and shardings. What is
left of a compiled program's bytes are activations and copies, which the compiler alone knows.
"""
import math
import re

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import sharding
from big_vlm.training import losses, optim

GIB = 2**30


def known(s, batch, grad_accum_steps=1):
  """{what: bytes per device} of a setup.TrainSetup and its batch {key: array or ShapeDtypeStruct}.

  Call it under jax.set_mesh(s.mesh). What fills tiles up on a TPU is not in it.
  """
  of = lambda tree, where: sum(jax.tree.leaves(jax.tree.map(
      lambda x, place: stored(place.shard_shape(x.shape), x.dtype), tree, where)))
  trained, _ = optim.partition(s.shapes.params, s.optimizer.trainable)
  placed, _ = optim.partition(s.shardings.params, s.optimizer.trainable)
  vocab = getattr(s.model.config.llm, "vocab_size", 0)
  rows, length = batch["text"].shape[0] // grad_accum_steps, batch["text"].shape[1] - 1
  local = -(-rows // sharding.batch_rows(s.mesh))
  rest = s.shapes.replace(params=None), s.shardings.replace(params=None)
  return {
      "parameters": of(s.shapes.params, s.shardings.params),
      "optimizer state": of(*rest),
      "gradients": of(trained, placed),
      "logits of a chunk": stored((local * losses.chunk_size(rows, length), vocab), jnp.float32),
      "batch": sum(stored((x.shape[0] // sharding.batch_rows(s.mesh), *x.shape[1:]), x.dtype)
                   for x in batch.values()),
  }


def stored(shape, dtype):
  """Bytes of an array."""
  return math.prod(shape) * np.dtype(dtype).itemsize


def wanted(message, known):
  """Bytes that a program would have needed, from the compiler's complaint that they are too many;
  None where it names no number."""
  found = re.search(r"HLO temporaries \(([\d.]+)([KMGT])\)|Used ([\d.]+)([KMGT]) of", message)
  if not found:
    return None
  number, unit = (found[1], found[2]) if found[1] else (found[3], found[4])
  bytes_ = float(number) * 1024 ** ("KMGT".index(unit) + 1)
  return bytes_ + (known["parameters"] + known["optimizer state"]) * bool(found[1])


def table(known, total=None, limit=None):
  """Lines "what  bytes" per device. total: of the whole program, so that the rest shows."""
  rows = dict(known)
  if total:
    rows["activations and copies"] = max(total - sum(known.values()), 0)
    rows["together"] = total
  else:
    rows["together, without activations"] = sum(known.values())
  if limit:
    rows["there is"] = limit
  width = max(map(len, rows))
  return "\n".join(f"  {name:<{width}} {format_bytes(n):>12}" for name, n in rows.items())


def format_bytes(n):
  """Bytes for people: "1.50 GiB" or "20 MiB"."""
  return f"{n / GIB:.2f} GiB" if n >= GIB / 10 else f"{n / 2**20:.3g} MiB"


def explain(error, s, batch, grad_accum_steps=1):
  """What to print where a step died of `error`, or None if that was not for want of memory.

  s: the setup.TrainSetup; batch: its arrays. To be called under jax.set_mesh(s.mesh).
  """
  message = str(error)
  if "RESOURCE_EXHAUSTED" not in message and "Out of memory" not in message:
    return None
  device = s.mesh.devices.flat[0]
  of_device = (getattr(device, "memory_stats", lambda: None)() or {}).get("bytes_limit")
  parts = known(s, batch, grad_accum_steps)
  return ("The step does not fit into the memory of the device. What it holds, per device:\n"
          f"{table(parts, wanted(message, parts), of_device)}\n"
          "What makes it smaller, the cheapest first: model.llm.remat='full' and "
          f"model.img.remat='full'; grad_accum_steps={2 * grad_accum_steps} (same result, fewer "
          "examples at a time); more devices on the fsdp axis of the mesh; a smaller input.batch_size. "
          "`python -m tools.plan --config ...` tries them.")
