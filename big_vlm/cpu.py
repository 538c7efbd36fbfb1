"""All that is tuned for a processor, measured on two cores, behind one switch: tuned().

On a GPU or TPU none of it changes a program. BIG_VLM_CPU_TUNING=0 leaves it out on a CPU too.
"""
import contextlib
import ctypes
import math
import os

from etils import epy

with epy.lazy_imports():  # the loader's worker processes have no use for it
  import jax
  import jax.numpy as jnp

TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8  # glibc's numbers of the settings, in malloc.h
KEPT = 1 << 30  # bytes at the end of the heap that may lie unused


def platform():
  """"cpu", "gpu" or "tpu": of the mesh that is set, else of JAX's default devices.

  The two differ where a program is compiled for devices that are not here.
  """
  device = jax.sharding.get_abstract_mesh().abstract_device
  return device.platform if device else jax.default_backend()


def tuned():
  """Whether a program that is traced or compiled now is one for a CPU, tuned for it."""
  return _switched_on() and platform() == "cpu"


def _switched_on():
  return os.environ.get("BIG_VLM_CPU_TUNING", "1") != "0"


def lean_options():
  """Compiler options for functions that only read the parameters, or None.

  XLA multiplies bfloat16 and int8 as float32 on a CPU and would convert the weights of all layers
  ahead of the loops over layers and tokens: 9 GiB more for PaliGemma 3B.
  """
  return {"xla_disable_hlo_passes": "while-loop-invariant-code-motion"} if tuned() else None


def map_rows(f, batch):
  """f(batch), one row after another: the order of a CPU's sums depends on the batch size, which in
  bfloat16 moves PaliGemma 3B's logits by 0.1. A row has tokens enough to keep the cores busy."""
  return jax.lax.map(lambda row: f(jax.tree.map(lambda x: x[None], row))[0], batch)


def tied_head(x, table):
  """Logits float32 [B, V] of x [B, D] by a table [V, D], for a decode step.

  With the table on the left the matmul of a few rows takes two thirds of the time. argmax() and
  logprob() read the result without transposing it.
  """
  return jnp.einsum("VD,BD->VB", table.astype(x.dtype), x, preferred_element_type=jnp.float32).T


# argmax() and logprob() of logits [R, V] transpose what tied_head() has transposed, which XLA then
# leaves out both times. Their maximum and sum over rows of many columns take one vector instruction
# for each row: head and choice of four rows take 13 ms instead of 22.
def _rows(logits):
  """[V / c, c * R] of logits [R, V]: column j * R + r has tokens j, c + j, ... of request r."""
  columns = math.gcd(logits.shape[1], 128)
  return logits.T.reshape(-1, columns * len(logits))


def _over_columns(reduce, x, rows):
  """[R]: reduce over the columns of each request of x [c * R]."""
  return reduce(x.reshape(-1, rows), axis=0)


def argmax(logits):
  """int32 [R]: argmax, the first where several are."""
  x, (count, vocab) = _rows(logits), logits.shape
  best = _over_columns(jnp.max, jnp.max(x, axis=0), count)
  columns = x.shape[1] // count
  token = (jax.lax.broadcasted_iota(jnp.int32, x.shape, 0) * columns
           + jax.lax.broadcasted_iota(jnp.int32, x.shape, 1) // count)
  first = jnp.min(jnp.where(x == jnp.tile(best, columns)[None], token, vocab - 1), axis=0)
  return _over_columns(jnp.min, first, count)


def logprob(logits, token):
  """float32 [R]: log softmax(logits) at token int32 [R]."""
  x, count = _rows(logits), len(logits)
  best = _over_columns(jnp.max, jnp.max(x, axis=0), count)
  columns = x.shape[1] // count
  total = jnp.sum(jnp.exp(x - jnp.tile(best, columns)[None]), axis=0)
  chosen = logits.T[token, jnp.arange(count)]
  return chosen - best - jnp.log(_over_columns(jnp.sum, total, count))


def keep_freed_memory():
  """Freed memory stays with this process, for the next step or image; True if the C library was
  told so.

  glibc gives large blocks back when they are freed, and the system hands them out again page by
  page, zeroed. All blocks come from one heap instead, which keeps its end: 200 steps of the
  quickstart take 0.8 million page faults instead of 8.5, and 77 s of processor time instead of 91;
  `decode|resize(224)` of 640x480 takes 1.9 ms instead of 3.5 (glibc 2.36, virtual machine).
  Decoding images is the processor's work beside an accelerator too. The user's own settings,
  MALLOC_..., stay.
  """
  if not _switched_on() or any(n.startswith(("MALLOC_", "GLIBC_TUNABLES")) for n in os.environ):
    return False
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError, TypeError):  # another C library
    return False
  return all([mallopt(MMAP_MAX, 0), mallopt(ARENA_MAX, 1), mallopt(TRIM_THRESHOLD, KEPT)])


def return_freed_memory():
  """Gives the system what a compiler has used and freed, which glibc does not do by itself: 0.3 GiB
  that the first step would otherwise need on top of it."""
  with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
    _switched_on() and ctypes.CDLL(None).malloc_trim(0)
