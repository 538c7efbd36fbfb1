"""Peak rates and memory of accelerators, as the makers publish them for dense arithmetic."""
import os
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pp.names import pick


class Device(NamedTuple):
  kind: str  # start of jax.Device.device_kind, in lower case
  flops: float  # peak FLOP/s: in bfloat16, of a CPU in float32
  memory: float  # bytes
  bandwidth: float  # bytes/s of that memory
  usable: float = 0.92  # the fraction of the memory that the runtime leaves to programs
  tf32: float = 0.5  # of a GPU: the fraction of the peak at which float32 is multiplied


GIB = 2**30
DEVICES = {
    "v4": Device("tpu v4", 275e12, 32 * GIB, 1228e9, 0.98),
    "v5e": Device("tpu v5 lite", 197e12, 16 * GIB, 819e9, 15.75 / 16),
    "v5p": Device("tpu v5p", 459e12, 95 * GIB, 2765e9, 0.98),
    "v6e": Device("tpu v6 lite", 918e12, 32 * GIB, 1640e9, 0.98),
    "h200": Device("nvidia h200", 989e12, 141e9, 4800e9),
    "h100": Device("nvidia h100", 989e12, 80e9, 3350e9),
    "h100-pcie": Device("nvidia h100 pcie", 756e12, 80e9, 2000e9),
    "a100-80": Device("nvidia a100-sxm4-80gb", 312e12, 80e9, 2039e9),
    "a100": Device("nvidia a100", 312e12, 40e9, 1555e9),  # the smaller one: what fits it, fits both
    "a100-40": Device("nvidia a100-sxm4-40gb", 312e12, 40e9, 1555e9),
    "l40s": Device("nvidia l40s", 362e12, 48e9, 864e9),
    "l4": Device("nvidia l4", 121e12, 24e9, 300e9),
    "a10": Device("nvidia a10", 125e12, 24e9, 600e9),
    "t4": Device("tesla t4", 65e12, 16e9, 320e9, tf32=0.125),  # float16; it has no TF32
    "rtx4090": Device("nvidia geforce rtx 4090", 165e12, 24e9, 1008e9),
    "rtx3090": Device("nvidia geforce rtx 3090", 71e12, 24e9, 936e9),
}


def find(name):
  """Returns the Device called `name`; "cpu" measures this machine. ValueError for other names."""
  check(name)
  return cpu() if name == "cpu" else DEVICES[name]


def check(name):
  """Raises ValueError unless find() knows the name."""
  pick({"cpu": None, **DEVICES}, name, "device")


def cpu():
  """Measures this machine's CPU by a float32 matmul of 1024 x 1024 and a sum over 256 MB."""
  x = jnp.ones((1024, 1024), jnp.float32)
  y = jnp.ones(2**26, jnp.float32)
  product, total = jax.jit(jnp.dot), jax.jit(jnp.sum)
  flops = 2 * 1024**3 / _best_seconds(lambda: product(x, x))
  pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  return Device("cpu", flops, pages, y.nbytes / _best_seconds(lambda: total(y)))


def _best_seconds(run):
  run().block_until_ready()
  times = []
  for _ in range(5):
    began = time.perf_counter()
    run().block_until_ready()
    times.append(time.perf_counter() - began)
  return min(times)


def of_kind(device_kind):
  """The Device with the longest kind that starts a jax.Device.device_kind; None if unknown."""
  rows = [d for d in DEVICES.values() if device_kind.lower().startswith(d.kind)]
  return max(rows, key=lambda d: len(d.kind), default=None)
