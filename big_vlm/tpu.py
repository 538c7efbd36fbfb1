"""What is tuned for decoding on a TPU, by its compiler's estimates for a v5e."""
import jax

from big_vlm import cpu

ROWS = 8  # of a tile; products of fewer rows go to the vector unit, at a quarter of the bandwidth
# KiB of vector memory that one instruction may take, of 128 MiB. With 16, the default, products
# that only stream weights reach 596 of 819 GB/s, with 32 650, with 64 680 at three times the time
# to compile.
WINDOWS = {"TPU v5 lite": 32 << 10, "TPU v6 lite": 32 << 10}


def few_rows(x):
  """Whether x [B, D] or [B, 1, ...] is a decode step's, of fewer rows than a tile of a TPU has."""
  return len(x) < ROWS and (x.ndim == 2 or x.shape[1] == 1) and cpu.platform() == "tpu"


def window_options():
  """Compiler options for programs that read all weights for a few rows, or None."""
  device = jax.sharding.get_abstract_mesh().abstract_device or jax.devices()[0]
  kib = WINDOWS.get(device.device_kind)
  return kib and {"xla_tpu_scoped_vmem_limit_kib": str(kib)}
