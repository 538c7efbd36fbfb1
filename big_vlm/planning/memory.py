"""Memory of a training step per device, and the table that shows it.

Parameters, optimizer state, gradients, batch and logits follow from shapes and shardings: they are
static. Only the compiler knows the rest of a program's bytes, its activations and copies.
"""
import math
import re

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import sharding
from big_vlm.training import losses, optim, sigmoid

GIB = 2**30


def static(s, batch, grad_accum_steps=1):
  """Returns {part: bytes per device} of all that follows from shapes; without a TPU's padding.

  Args:
    s: setup.TrainSetup, whose mesh must be set (jax.set_mesh).
    batch: {key: array or ShapeDtypeStruct}.
    grad_accum_steps: parts of the batch that a step takes one after the other.
  """
  of = lambda tree, where: sum(jax.tree.leaves(jax.tree.map(
      lambda x, place: stored(place.shard_shape(x.shape), x.dtype), tree, where)))
  trained, _ = optim.partition(s.shapes.params, s.optimizer.trainable)
  placed, _ = optim.partition(s.shardings.params, s.optimizer.trainable)
  rest = s.shapes.replace(params=None), s.shardings.replace(params=None)
  return {
      "parameters": of(s.shapes.params, s.shardings.params),
      "optimizer state": of(*rest),
      "gradients": of(trained, placed),
      **_of_loss(s, batch, grad_accum_steps),
      "batch": sum(stored((x.shape[0] // sharding.batch_rows(s.mesh), *x.shape[1:]), x.dtype)
                   for x in batch.values()),
  }


def _of_loss(s, batch, grad_accum_steps):
  """{part: bytes} of the logits that exist at once; of two towers, of the vectors too."""
  rows, length = batch["text"].shape
  devices = sharding.batch_rows(s.mesh)
  if c := s.model.config.txt:
    local, block = rows // devices, sigmoid.chunk_size(rows // devices, devices)
    vectors = stored((6, local, c.out_width or c.width), jnp.float32)
    return {"vectors and their gradients": vectors,
            "logits of a chunk": stored((block, block), jnp.float32)}
  rows, vocab = rows // grad_accum_steps, getattr(s.model.config.llm, "vocab_size", 0)
  local = -(-rows // devices) * losses.chunk_size(rows, length - 1)
  return {"logits of a chunk": stored((local, vocab), jnp.float32)}


def stored(shape, dtype):
  """Bytes of an array."""
  return math.prod(shape) * np.dtype(dtype).itemsize


def required(message, static):
  """Bytes that a program requires, from the compiler's out-of-memory message; None without any."""
  found = re.search(r"HLO temporaries \(([\d.]+)([KMGT])\)|Used ([\d.]+)([KMGT]) of", message)
  if not found:
    return None
  number, unit = filter(None, found.groups())
  bytes_ = float(number) * 1024 ** ("KMGT".index(unit) + 1)
  return bytes_ + (static["parameters"] + static["optimizer state"]) * bool(found[1])


def table(static, total=None, capacity=None):
  """Lines "part  bytes" per device; activations too if the `total` of the program is given."""
  rows = dict(static)
  if total:
    rows["activations and copies"] = max(total - sum(static.values()), 0)
    rows["total"] = total
  else:
    rows["total, without activations"] = sum(static.values())
  if capacity:
    rows["capacity"] = capacity
  width = max(map(len, rows))
  return "\n".join(f"  {name:<{width}} {format_bytes(n):>12}" for name, n in rows.items())


def format_bytes(n):
  """"1.50 GiB" or "20 MiB" of a number of bytes."""
  return f"{n / GIB:.2f} GiB" if n >= GIB / 10 else f"{n / 2**20:.3g} MiB"


def explain(error, s, batch, grad_accum_steps=1):
  """Returns the message for a step that ran out of memory; None if `error` is another one.

  The other arguments are those of `static`.
  """
  message = str(error)
  if "RESOURCE_EXHAUSTED" not in message and "Out of memory" not in message:
    return None
  device = s.mesh.devices.flat[0]
  of_device = (getattr(device, "memory_stats", lambda: None)() or {}).get("bytes_limit")
  parts = static(s, batch, grad_accum_steps)
  return ("The step does not fit into the memory of the device. Memory per device:\n"
          f"{table(parts, required(message, parts), of_device)}\n"
          "To make it smaller, the cheapest change first: model.llm.remat='full' and "
          f"model.img.remat='full'; grad_accum_steps={2 * grad_accum_steps} (same result, fewer "
          "examples at a time); more devices on the fsdp axis of the mesh; a smaller "
          "input.batch_size. `python -m tools.plan --config ...` tries them.")
