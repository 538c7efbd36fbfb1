"""What is wrong with this installation and machine, and the exact mend: python -m tools.doctor

  --workdir W   the folder in which a training is to run: disk space and permissions are those of it
  --report      the same as Markdown for a bug report: with the questions that it answers, the
                commit, and the config and the last metrics of W

One line for each thing: "ok", "warning" (it works, but slower or not for long) or "problem" (exit
status 1), the last two with the command that mends it. One matrix product and one sum over all
local devices are run.
"""
import contextlib
import importlib.metadata
import io
import os
import pathlib
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
from etils import epath
from packaging.markers import Marker

import big_vlm
from big_vlm import cli, compilation, hardware
from big_vlm.planning import devices
from evaluators import provenance

REQUIREMENTS = pathlib.Path(__file__).parent.parent / "requirements.txt"
OK, WARNING, PROBLEM = "ok", "warning", "problem"
SHOWN = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
# The oldest driver that runs programs of a CUDA release (NVIDIA's compatibility table).
DRIVERS = {"12": 525, "13": 580}
LEAST_DISK, LITTLE_DISK = 2**30, 50 * 2**30  # a PaliGemma 3B with Adam's state is 35 GB a save
LEAST_FILES, LEAST_MAPS = 4096, 65530
QUESTIONS = """\
## What was run

The command or the shortest program, and the config where there is one.

## What was expected, and what came instead

All of the output, with BIG_VLM_TRACEBACK=1 in the environment where it is an error.

## Since when

Did it work with another version, device or model?
"""


class Line(NamedTuple):
  """One finding. mend: what to type or do, where status is not ok."""
  what: str
  status: str
  text: str
  mend: str = ""


def packages(requirements, installed, python):
  """Lines for Python and the packages: installed is {name: version}; python is (major, minor)."""
  if python < (3, 11):
    yield Line("python", PROBLEM, f"{python[0]}.{python[1]}; 3.11 or later is needed",
               "make PYTHON=python3.12 VENV=.venv312 test")
  else:
    yield Line("python", OK, ".".join(map(str, python)))
  wanted = pinned(requirements, ".".join(map(str, python)))
  known = {_canonical(n): v for n, v in installed.items()}
  missing = [n for n in wanted if _canonical(n) not in known]
  other = [f"{n} {known[_canonical(n)]}, not {v}" for n, v in wanted.items()
           if known.get(_canonical(n), v) != v]
  mend = f"{sys.executable} -m pip install -r requirements.txt"
  if missing:
    yield Line("packages", PROBLEM, f"missing: {', '.join(missing)}", mend)
  if other:
    yield Line("packages", WARNING, f"not as tested: {', '.join(other)}", mend)
  if not missing and not other:
    yield Line("packages", OK, "as in requirements.txt: "
               + ", ".join(f"{n} {wanted[n]}" for n in SHOWN if n in wanted))
  version = known.get("jax", "")
  parts = {n: v for n, v in known.items()
           if n == "jaxlib" or re.fullmatch(r"jax-cuda\d+-(plugin|pjrt)", n)}
  if odd := [f"{n} {v}" for n, v in parts.items() if v != version]:
    yield Line("jaxlib", PROBLEM, f"{', '.join(odd)} beside jax {version}: they go together",
               f"{sys.executable} -m pip install "
               + " ".join(f'"{n}=={version}"' for n in parts))


def pinned(text, python):
  """{name: version} of a requirements file for a version of Python."""
  found = {}
  for line in text.splitlines():
    line, _, marker = line.partition("#")[0].partition(";")
    name, _, version = line.strip().partition("==")
    if version and (not marker or Marker(marker).evaluate({"python_version": python})):
      found[name] = version.strip()
  return found


def _canonical(name):
  return re.sub(r"[-_.]+", "-", name).lower()


def accelerator(chips, gpus, backend, forced, installed, users=(), error=""):
  """Lines on whether JAX uses the accelerator that the machine has.

  chips: TPU generations, gpus: their number, as hardware.py tells. backend: JAX's, "" where it
  fails with `error`. forced: $JAX_PLATFORMS. installed: {package: version}. users: processes
  [(pid, command)] that hold the TPU.
  """
  there = f"{len(chips)} TPU {chips[0]} chips" if chips else f"{gpus} NVIDIA GPUs" if gpus else ""
  want, jax_version = "tpu" if chips else "gpu" if gpus else "cpu", installed.get("jax", "")
  if not there:
    if backend:
      yield Line("accelerator", OK, f"none on this machine; JAX runs on {backend}")
    else:
      yield Line("accelerator", PROBLEM, f"JAX does not start: {error}", "unset JAX_PLATFORMS")
    return
  if backend == want:
    yield Line("accelerator", OK, f"{there}, and JAX uses them")
    return
  if forced and want not in forced.replace("cuda", "gpu").split(","):
    yield Line("accelerator", WARNING, f"{there}, but JAX_PLATFORMS={forced} keeps JAX off them",
               "unset JAX_PLATFORMS")
    return
  if want == "tpu" and users:
    pid, command = users[0]
    yield Line("accelerator", PROBLEM, f"{there}, held by process {pid} ({command}): a chip serves "
               "one process", f"end that process (kill {pid}), or wait for it")
    return
  extra = "tpu" if chips else "cuda13"
  plugin = "libtpu" if chips else next((n for n in installed if re.fullmatch(
      r"jax-cuda\d+-plugin", n)), None)
  if plugin not in installed:
    yield Line("accelerator", PROBLEM, f"{there}, but JAX sees only the {backend or 'CPU'}: it is "
               "installed without support for them",
               f'{sys.executable} -m pip install "jax[{extra}]=={jax_version}"')
    return
  yield Line("accelerator", PROBLEM, f"{there}, but JAX does not start on them: "
             f"{error or plugin + ' ' + installed[plugin] + ' is installed'}",
             f'{sys.executable} -m pip install --force-reinstall "jax[{extra}]=={jax_version}"')


def driver(version, installed, library_path):
  """Lines on the NVIDIA driver: version such as "535.104.05", "" where there is none."""
  cuda = next((m[1] for n in installed if (m := re.fullmatch(r"jax-cuda(\d+)-plugin", n))), None)
  if not version or not cuda:
    return
  least = DRIVERS.get(cuda, max(DRIVERS.values()))
  if int(version.split(".")[0]) < least:
    older = next((c for c, d in sorted(DRIVERS.items(), reverse=True)
                  if d <= int(version.split(".")[0])), None)
    yield Line("driver", PROBLEM, f"{version} is too old for CUDA {cuda} ({least} or later)",
               f'{sys.executable} -m pip install "jax[cuda{older}]=={installed["jax"]}"' if older
               else f"install an NVIDIA driver of version {least} or later")
  else:
    yield Line("driver", OK, f"{version}, CUDA {cuda}, cuDNN "
               + installed.get(f"nvidia-cudnn-cu{cuda}", "of the system"))
  if installed.get(f"nvidia-cudnn-cu{cuda}") and "cuda" in library_path.lower():
    yield Line("CUDA", WARNING, f"LD_LIBRARY_PATH={library_path} comes before the CUDA and cuDNN "
               "that JAX was installed with; other versions fail or are slow",
               "unset LD_LIBRARY_PATH")


def disk(folder, free, writable):
  gib = free / 2**30
  if not writable:
    return Line("disk", PROBLEM, f"{folder} cannot be written",
                f"sudo chown -R $USER {folder}, or give another --workdir")
  if free < LEAST_DISK:
    return Line("disk", PROBLEM, f"{gib:.1f} GiB free at {folder}: no checkpoint will fit",
                "remove what is not needed there, or give another --workdir")
  if free < LITTLE_DISK:
    return Line("disk", WARNING, f"{gib:.0f} GiB free at {folder}: three saves of a 3B model with "
                "Adam's state, two kept and one written, are 105 GB",
                "lower config.max_to_keep, or give another --workdir")
  return Line("disk", OK, f"{gib:.0f} GiB free at {folder}")


def limits(files, maps):
  """Lines on ulimit -n and vm.max_map_count."""
  if files < LEAST_FILES:
    yield Line("open files", WARNING, f"at most {files} at once: loader and checkpoints may need "
               "more", f"ulimit -n {LEAST_FILES * 4}")
  else:
    yield Line("open files", OK, f"at most {files} at once")
  if maps < LEAST_MAPS:
    yield Line("memory maps", WARNING, f"at most {maps} of a process: XLA fails where a program "
               "needs more", "sudo sysctl -w vm.max_map_count=262144")
  else:
    yield Line("memory maps", OK, f"at most {maps} of a process")


def memory():
  host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
  first = jax.local_devices()[0]
  limit = (first.memory_stats() or {}).get("bytes_limit")
  own = f"; {limit / 2**30:.1f} GiB usable on each {first.device_kind}" if limit else ""
  return Line("memory", OK, f"{host:.0f} GiB{own}")


def product(size=None):
  """One bfloat16 matrix product on the first device, beside the maker's figure."""
  device = jax.local_devices()[0]
  size = size or (1024 if device.platform == "cpu" else 8192)
  x = jax.device_put(jnp.ones((size, size), jnp.bfloat16), device)
  multiply = jax.jit(jnp.dot)
  multiply(x, x).block_until_ready()
  seconds = []
  for _ in range(3):
    began = time.perf_counter()
    y = multiply(x, x).block_until_ready()
    seconds.append(time.perf_counter() - began)
  return speed(device.device_kind, 2 * size**3 / min(seconds), float(y[0, 0]) == size)


def speed(kind, flops, right):
  if not right:
    return Line("matrix product", PROBLEM, f"{kind} computes wrongly",
                "run it again; if it stays so, the device or its driver is broken")
  row = devices.of_kind(kind)
  text = f"bfloat16 at {flops / 1e12:.3g} TFLOP/s on {kind}"
  if row and flops < 0.4 * row.flops:
    return Line("matrix product", WARNING, f"{text}, of {row.flops / 1e12:.0f} by its maker",
                "see who else uses the device (nvidia-smi), and its power limit and temperature")
  return Line("matrix product", OK, text + (f", {flops / row.flops:.0%} of the maker's figure"
                                            if row else ""))


def collective():
  """One sum over all local devices."""
  count = jax.local_device_count()
  if count == 1:
    return Line("collective", OK, "one device: nothing to sum over")
  mesh = jax.make_mesh((count,), ("all",), devices=jax.local_devices())
  cut = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("all"))
  x = jax.device_put(jnp.arange(count, dtype=jnp.float32), cut)
  began = time.perf_counter()
  total = float(jax.jit(jnp.sum)(x))
  if total != count * (count - 1) / 2:
    return Line("collective", PROBLEM, f"the sum over {count} devices is wrong",
                "NCCL_P2P_DISABLE=1 python -m tools.doctor; NCCL_DEBUG=INFO says more")
  return Line("collective", OK, f"sum over {count} devices, with its compilation "
              f"{time.perf_counter() - began:.1f} s")


def holders(root="/proc"):
  """[(pid, command)] of the processes that have a TPU's device file open."""
  found, own = [], str(os.getpid())
  for folder in pathlib.Path(root).glob("[0-9]*"):
    try:
      held = any(re.match(r"/dev/(accel|vfio/)\d", os.readlink(f)) for f in
                 (folder / "fd").iterdir())
      if held and folder.name != own:
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        found.append((int(folder.name), command[:60]))
    except OSError:  # it has ended, or is another user's
      continue
  return found


def nvidia_driver():
  """The version of the driver, "" where there is none."""
  try:
    text = pathlib.Path("/proc/driver/nvidia/version").read_text()
  except OSError:
    try:
      text = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
                            capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
      return ""
  found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", text)
  return found[0] if found else ""


def free_at(workdir):
  """The Line of the folder, or of the nearest one above that exists."""
  folder = pathlib.Path(workdir).absolute()
  while not folder.exists():
    folder = folder.parent
  return disk(folder, shutil.disk_usage(folder).free, os.access(folder, os.W_OK))


def findings(workdir):
  """All Lines, one by one, as they are found."""
  installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()
               if d.metadata["Name"]}
  yield from packages(REQUIREMENTS.read_text(), installed, sys.version_info[:2])
  backend = error = ""
  try:
    backend = jax.default_backend()
  except RuntimeError as e:
    error = str(e).splitlines()[0]
  chips, gpus = hardware.tpu_chips(), hardware.gpus()
  yield from accelerator(chips, gpus, backend, os.environ.get("JAX_PLATFORMS", ""),
                         {_canonical(n): v for n, v in installed.items()},
                         holders() if chips and backend != "tpu" else (), error)
  yield from driver(nvidia_driver(), installed, os.environ.get("LD_LIBRARY_PATH", ""))
  if backend:
    yield memory()
    yield product()
    yield collective()
  yield free_at(workdir)
  maps = pathlib.Path("/proc/sys/vm/max_map_count")
  yield from limits(resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                    int(maps.read_text()) if maps.exists() else LEAST_MAPS)


def examine(workdir):
  """Prints machine and findings; returns the worst status."""
  print(f"{platform.platform()}, {os.cpu_count()} CPU cores")
  worst = OK
  for line in findings(workdir):
    print(f"{line.status:8} {line.what}: {line.text}", flush=True)
    if line.mend:
      print(f"{'':8} -> {line.mend}", flush=True)
    worst = PROBLEM if PROBLEM in (line.status, worst) else worst
  return worst


def report(workdir):
  """Prints a bug report to complete, with ~ for the home folder; returns the worst status."""
  print(QUESTIONS)
  said = io.StringIO()
  with contextlib.redirect_stdout(said):
    code = provenance.commit() or {"commit": "not a checkout", "changed": False}
    print(f"big_vlm {big_vlm.__version__}, {code['commit']}" + ", changed" * code["changed"])
    worst = examine(workdir)
  parts = {"Machine": said.getvalue()}
  for title, name in (("Config", "config.json"), ("Last metrics", "metrics.jsonl")):
    path = epath.Path(workdir) / name
    if path.exists():
      lines = path.read_text().splitlines()
      parts[f"{title} of the work folder"] = "\n".join(lines[-1:] if name[-1] == "l" else lines)
  for title, text in parts.items():
    print(f"## {title}\n\n```\n{text.strip().replace(str(pathlib.Path.home()), '~')}\n```\n")
  return worst


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("--workdir", default=".")
  parser.add_argument("--report", action="store_true")
  args = parser.parse_args(argv)
  compilation.cache()
  sys.exit((report if args.report else examine)(args.workdir) == PROBLEM)


if __name__ == "__main__":
  cli.run(main)
