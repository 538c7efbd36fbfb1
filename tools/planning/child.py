"""Runs measure.measure, or another module's, in a child process that has the TPU's or the GPU's
compiler, or enough CPU devices.

The TPU compiler is the libtpu wheel. In the everyday environment it would make every start of JAX
print warnings. `pip install --target .libtpu` therefore puts it into a folder that only the child
process searches. So it is with the GPU's, see gpu.py.
"""
import ast
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from tools.planning import gpu

ROOT = pathlib.Path(__file__).parent.parent.parent
LIBTPU = ROOT / ".libtpu"
LIBRARY = LIBTPU / "libtpu" / "libtpu.so"
INSTALL = (f"{sys.executable} -m pip install --no-deps --target {LIBTPU} "
           f"-r {ROOT / 'requirements-tpu-compiler.txt'}")


def has_tpu_compiler():
  return LIBRARY.exists() or importlib.util.find_spec("libtpu") is not None


def check_compiler(topology):
  """Raises ValueError for a topology where the TPU compiler is not installed."""
  if topology and not has_tpu_compiler():
    raise ValueError("The TPU compiler is not installed. It runs on any Linux machine and needs no "
                     f"TPU (200 MB):\n  {INSTALL}")


def uses_gpu_compiler(device):
  """Whether programs for a device of big_vlm/planning/devices.py are compiled as GPUs do it."""
  return device in gpu.TARGETS and gpu.has_compiler()


def tpu_compiler():
  """"libtpu 0.0.42.1": the TPU compiler that is installed."""
  found = importlib.metadata.distributions(name="libtpu", path=[str(LIBTPU), *sys.path])
  return f"libtpu {next(iter(found)).version}"


def measure(config, timeout=3600, **request):
  """Returns measure.measure(config, **request), run in a child process; raises as run()."""
  return run("measure", timeout, config=config.to_dict(), **request)


def run(module, timeout=3600, **request):
  """Returns measure(**request) of a module of this package, run in a child process.

  request: plain values. Raises:
    ValueError: `measure` raised one, or a topology is given and the TPU compiler is not installed.
    RuntimeError: the child process ended without a result.
  """
  check_compiler(request.get("topology"))
  env = {**os.environ, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3",
         "TPU_SKIP_MDS_QUERY": "1",  # this machine has no metadata server that describes a TPU
         "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # and no TPU that two processes could compete for
         "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
         "JAX_NUM_CPU_DEVICES": str(request.get("count", 1)),
         # The cache stores executables; a program for a topology cannot be loaded as one.
         "JAX_ENABLE_COMPILATION_CACHE": "0"}
  if uses_gpu_compiler(request.get("device")):
    env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} {gpu.XLA_FLAGS}"
    env["PYTHONPATH"] += f"{os.pathsep}{gpu.FOLDER}"  # JAX asks it for the version of cuDNN
  if LIBRARY.exists():
    env["TPU_LIBRARY_PATH"] = str(LIBRARY)
  with tempfile.TemporaryDirectory() as folder:
    answer = pathlib.Path(folder, "result.json")
    done = subprocess.run(
        [sys.executable, "-m", f"tools.planning.{module}", str(answer)], env=env, text=True,
        input=repr(request), capture_output=True, timeout=timeout)
    if not answer.exists():
      raise RuntimeError(f"The compiling process ended with status {done.returncode}:\n"
                         f"{done.stderr[-3000:]}")
    result = json.loads(answer.read_text())
  if "error" in result:
    raise ValueError(result["error"])
  return result


def answer(measure):
  """What the child process does: measure(**request), its result into the file that argv names."""
  try:
    result = measure(**ast.literal_eval(sys.stdin.read()))
  except ValueError as e:
    result = {"error": str(e)}
  pathlib.Path(sys.argv[1]).write_text(json.dumps(result))
