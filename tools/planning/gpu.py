"""NVIDIA GPUs that need not be here, as targets of XLA's own GPU compiler.

The compiler is JAX's CUDA plugin, in a folder of its own as libtpu is; it needs neither a GPU nor a
driver. Only what is timed on a device is missing: the autotuner, which picks between cuBLAS and
Triton and the tiles of Triton's products. Products therefore go to cuBLAS (XLA_FLAGS), which the
autotuner mostly takes for those of a training step: with Triton's default tiles the tower of
So400m, 1,152 wide, does not compile.
"""
import importlib.metadata
import pathlib
import sys
from typing import NamedTuple

from big_vlm.planning import devices
from pp.names import pick

ROOT = pathlib.Path(__file__).parent.parent.parent
FOLDER = ROOT / ".jax-cuda"
LIBRARY = FOLDER / "jax_plugins" / "xla_cuda13" / "xla_cuda_plugin.so"
INSTALL = (f"{sys.executable} -m pip install --target {FOLDER} "
           f"-r {ROOT / 'requirements-gpu-compiler.txt'}")
XLA_FLAGS = "--xla_gpu_enable_triton_gemm=false"


class Target(NamedTuple):
  """What the compiler asks of a GPU, from NVIDIA's data sheets and CUDA programming guide."""
  capability: str
  cores: int  # streaming multiprocessors
  clock: float  # GHz, boost
  l2_mib: float
  lanes: int = 128  # float32 units of a core
  threads: int = 1536  # of a core
  shared_kib: int = 100  # of a core; a block may have 1 less, on Turing all of it


_HOPPER = dict(threads=2048, shared_kib=228)
_AMPERE = dict(lanes=64, threads=2048, shared_kib=164)
TARGETS = {
    "h200": Target("9.0", 132, 1.98, 50, **_HOPPER),
    "h100": Target("9.0", 132, 1.98, 50, **_HOPPER),
    "h100-pcie": Target("9.0", 114, 1.755, 50, **_HOPPER),
    "a100": Target("8.0", 108, 1.41, 40, **_AMPERE),
    "a100-80": Target("8.0", 108, 1.41, 40, **_AMPERE),
    "a100-40": Target("8.0", 108, 1.41, 40, **_AMPERE),
    "l40s": Target("8.9", 142, 2.52, 96),
    "l4": Target("8.9", 58, 2.04, 48),
    "a10": Target("8.6", 72, 1.695, 6),
    "t4": Target("7.5", 40, 1.59, 4, lanes=64, threads=1024, shared_kib=64),
    "rtx4090": Target("8.9", 128, 2.52, 72),
    "rtx3090": Target("8.6", 82, 1.695, 6),
}


def has_compiler():
  return LIBRARY.exists()


def compiler():
  """"XLA for CUDA 13, jax 0.10.2": the GPU compiler that is installed."""
  found = importlib.metadata.distributions(name="jax-cuda13-pjrt", path=[str(FOLDER)])
  return f"XLA for CUDA 13, jax {next(iter(found)).version}"


def gpu_devices(name, count=1):
  """Descriptions of the GPUs of one host, by the name of a device; needs the compiler."""
  from jax._src import xla_bridge
  from jax.experimental import topologies
  target = pick(TARGETS, name, "GPU")
  try:
    xla_bridge.register_plugin("cuda", library_path=str(LIBRARY))
  except Exception as e:  # of an earlier call, or of JAX's own search for plugins
    if "ALREADY_EXISTS" not in str(e):
      raise
  return topologies.get_topology_desc(
      platform="cuda", topology_name="", topology=f"1x1x{count}",
      target_config=config_text(devices.find(name), target)).devices


def config_text(device, target):
  """The text of a stream_executor.GpuTargetConfigProto."""
  major, minor = target.capability.split(".")
  turing = major == "7"
  return f"""
      gpu_device_info {{
        threads_per_block_limit: 1024
        threads_per_warp: 32
        shared_memory_per_block: 49152
        shared_memory_per_core: {target.shared_kib << 10}
        shared_memory_per_block_optin: {(target.shared_kib - (not turing)) << 10}
        threads_per_core_limit: {target.threads}
        core_count: {target.cores}
        fpus_per_core: {target.lanes}
        block_dim_limit_x: 2147483647
        block_dim_limit_y: 65535
        block_dim_limit_z: 65535
        memory_bandwidth: {device.bandwidth:.0f}
        l2_cache_size: {int(target.l2_mib * 2**20)}
        clock_rate_ghz: {target.clock}
        device_memory_size: {device.memory:.0f}
        cuda_compute_capability {{ major: {major} minor: {minor} }}
        registers_per_core_limit: 65536
        registers_per_block_limit: 65536
      }}
      platform_name: "CUDA"
      dnn_version_info {{ major: 9 minor: 8 }}
      device_description_str: "{device.kind.upper()}"
      """
