"""Several processes as one run: how they find each other, and how they agree.

  one process     nothing is set: no network is needed
  flags           --coordinator_address HOST:PORT --num_processes N --process_id I
  environment     JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID stand for these flags;
                  the index of an indexed Kubernetes job serves for the last (launch/jobset.yaml)
  cluster         SLURM, a TPU pod, Open MPI, Kubernetes: JAX detects them

Every process runs the same program; process 0 prints and writes metrics, plots and reports.
"""
import contextlib
import ipaddress
import json
import os
import socket
import sys
import threading
import zlib

import jax
import numpy as np
import psutil
from jax._src import distributed as jax_distributed
from jax.experimental import multihost_utils

from big_vlm import hardware

TIMEOUT = 300.0  # seconds until a start that hangs is given up
VARIABLES = {"coordinator_address": ("JAX_COORDINATOR_ADDRESS",),
             "num_processes": ("JAX_NUM_PROCESSES",),
             "process_id": ("JAX_PROCESS_ID", "JOB_COMPLETION_INDEX")}


def start(coordinator_address=None, num_processes=None, process_id=None, timeout=TIMEOUT):
  """Joins the other processes of this run, if there are any, and tries one collective with them.

  To be called before JAX touches a device. Afterwards only process 0 prints. A start that takes
  over `timeout` seconds ends this process with status 1 and a paragraph that says what may be
  wrong: an exception cannot interrupt such waits.
  """
  found = arguments(coordinator_address, num_processes, process_id)
  if found is None:
    return
  if found.get("process_id") == 0:
    _check_port(found["coordinator_address"])
  with _deadline(timeout, lambda: _not_all_there(timeout)):
    try:
      # JAX ends the process from C++ when its own time is up: ours comes first, and says more.
      jax.distributed.initialize(**found, initialization_timeout=int(timeout) + 60)
    except ValueError as e:
      if "process_id" in found or "should be defined" not in str(e):
        raise
      return  # JAX detects no cluster
  if jax.process_index():
    sys.stdout = open(os.devnull, "w")
  with _deadline(timeout, lambda: _no_collective(timeout)):
    assert_same(f"jax {jax.__version__}, {jax.default_backend()}", "versions of JAX or backends")
  if jax.process_count() > 1:
    print(f"{jax.process_count()} processes with {jax.device_count()} devices, coordinator "
          f"{jax_distributed.global_state.coordinator_address}", flush=True)


def arguments(coordinator_address=None, num_processes=None, process_id=None, env=os.environ):
  """What jax.distributed.initialize() takes here; None where this process is known to be alone.

  Raises ValueError where flags or variables are given in part or contradict each other.
  """
  given = dict(coordinator_address=coordinator_address, num_processes=num_processes,
               process_id=process_id)
  if any(v is not None for v in given.values()) or "JAX_COORDINATOR_ADDRESS" in env:
    for name, variables in VARIABLES.items():
      if given[name] is None:
        given[name] = next((env[v] for v in variables if v in env), None)
    return _checked(given)
  if "SLURM_STEP_NODELIST" in env:
    if int(env.get("SLURM_NTASKS", 1)) == 1:
      return None  # two commands in one allocation would meet at the job's port
    return {"local_device_ids": slurm_devices(env, hardware.gpus())}
  if hardware.tpu_chips() and "tpu" not in (jax.config.jax_platforms or "tpu"):
    return None  # a command on the processor of one machine of a TPU pod
  return {}


def _checked(given):
  if missing := [f"--{name} (or {' or '.join(VARIABLES[name])})" for name, value in given.items()
                 if value is None]:
    raise ValueError(f"{', '.join(missing)} missing: --{', --'.join(given)} go together.")
  address = given["coordinator_address"]
  try:
    count, index = int(given["num_processes"]), int(given["process_id"])
  except ValueError as e:
    raise ValueError(f"--num_processes and --process_id are whole numbers: {e}.") from e
  if not 0 <= index < count:
    raise ValueError(f"--process_id is {index}: of {count} processes the first has 0, the last "
                     f"{count - 1}.")
  if not address.rpartition(":")[2].isdigit() or ":" not in address:
    raise ValueError(f"--coordinator_address is {address!r}, not HOST:PORT of process 0.")
  if count == 1:
    return None
  return dict(coordinator_address=address, num_processes=count, process_id=index)


def _check_port(address):
  """Raises ValueError unless process 0 can open the port; gRPC would end it with a signal."""
  dual = socket.has_dualstack_ipv6()
  try:
    socket.create_server(("", int(address.rpartition(":")[2])), dualstack_ipv6=dual,
                         family=socket.AF_INET6 if dual else socket.AF_INET).close()
  except (OSError, OverflowError) as e:
    raise ValueError(f"--coordinator_address={address}: process 0 cannot open that port on this "
                     f"machine ({e}). Another program or run may use it: give all processes "
                     "another port.") from e


def slurm_devices(env, gpus):
  """Indices of the GPUs that belong to this task, among those that it sees; None: all.

  JAX would give each task one GPU. Here one task per node takes all GPUs of the node; as many tasks
  as GPUs take one each.
  """
  visible = env.get("CUDA_VISIBLE_DEVICES")
  seen = gpus if visible is None else len([x for x in visible.split(",") if x])
  here = int(env.get("SLURM_STEP_TASKS_PER_NODE", env.get("SLURM_TASKS_PER_NODE", "1"))
             .split("(")[0].split(",")[0])
  if seen < 2 or here == 1 or seen % here:  # bound to the task by SLURM already, or the node's
    return list(range(seen)) or None
  each, mine = seen // here, int(env["SLURM_LOCALID"])
  return list(range(mine * each, (mine + 1) * each))


@contextlib.contextmanager
def _deadline(timeout, explain):
  """Ends the process with explain() on stderr if the block takes longer than timeout seconds."""
  def fail():
    print(f"error: {explain()}", file=sys.stderr, flush=True)
    os._exit(1)
  timer = threading.Timer(timeout, fail)
  timer.daemon = True
  timer.start()
  try:
    yield
  finally:
    timer.cancel()


def _not_all_there(timeout):
  """Why the processes did not meet: process 0 tells its connections, others the way to it."""
  state = jax_distributed.global_state
  address, count, said = state.coordinator_address, state.num_processes, ""
  if address is None:  # JAX is still asking the cluster
    count, address = "", "the coordinator"
  elif state.process_id == 0:
    others = connected(int(address.rpartition(":")[2]))
    said = f"This is process 0; {len(others)} of {count - 1} others are connected"
    said += f": from {', '.join(others)}. " if others else ". "
  else:
    said = f"This is process {state.process_id}; {reach(address)} "
  return (
      f"After {timeout:.0f} s not all {count} processes of this run have come together at "
      f"{address}. {said}Usual causes: a machine that did not start its process or failed at once "
      "(see its log), a port closed by a firewall, a name that resolves to another network card, "
      "or counts that differ: check --num_processes and --process_id of each, or the variables of "
      "the cluster (SLURM_*, TPU_WORKER_*). --initialization_timeout SECONDS waits longer.")


def connected(port):
  """Addresses of those that hold a connection to this port; of this machine's own, with ports."""
  ends = [c.raddr for c in psutil.net_connections("tcp")
          if c.status == psutil.CONN_ESTABLISHED and c.laddr.port == port]
  ends = [(ipaddress.ip_address(end.ip.removeprefix("::ffff:")), end.port) for end in ends]
  # Process 0 is its own client: of its own machine one connection is not another's.
  return (sorted({str(ip) for ip, _ in ends if not ip.is_loopback})
          + sorted(f"{ip}:{remote}" for ip, remote in ends if ip.is_loopback)[1:])


def reach(address, seconds=5):
  """A sentence on whether process 0 can be reached."""
  host, _, port = address.rpartition(":")
  try:
    socket.create_connection((host, int(port)), seconds).close()
  except OSError as e:
    return f"it does not reach {address}: {e}."
  return f"it reaches {address}, so others are missing there."


def _no_collective(timeout):
  text = (f"The {jax.process_count()} processes found each other, but a first sum over all devices "
          f"did not end in {timeout:.0f} s. Usual causes: a firewall that leaves only the "
          "coordinator's port open, processes with different versions of JAX, or a machine that "
          "hangs.")
  if jax.default_backend() == "gpu":
    text += (" On GPUs: NCCL_DEBUG=INFO shows what NCCL waits for, NCCL_P2P_DISABLE=1 fixes what "
             "comes of direct access between cards, NCCL_SOCKET_IFNAME names the network card.")
  return text + " --initialization_timeout SECONDS waits longer."


def assert_same(text, what):
  """Raises ValueError on all processes where they differ in a text; `what` names it."""
  if jax.process_count() == 1:
    return
  sums = multihost_utils.process_allgather(np.uint32(zlib.crc32(text.encode())))
  if odd := [i for i, x in enumerate(np.ravel(sums)) if x != np.ravel(sums)[0]]:
    raise ValueError(f"The processes of this run have different {what}: {odd} differ from process "
                     f"0. This is process {jax.process_index()}: {text[:200]}")


def is_primary_process():
  """Whether this is the process that prints and writes."""
  return jax.process_index() == 0


def broadcast_from_primary(make):
  """make() of process 0, a JSON value, on all; what it raises as ValueError or OSError, too."""
  if jax.process_count() == 1:
    return make()
  said = {}
  if is_primary_process():
    try:
      said = {"value": make()}
    except (ValueError, OSError) as e:
      said = {"error": str(e), "os": isinstance(e, OSError)}
  said = json.loads(all_gather_bytes(json.dumps(said).encode())[0])
  if "error" in said:
    raise (OSError if said["os"] else ValueError)(said["error"])
  return said["value"]


def fetch(tree):
  """Global arrays as numpy, whole, on every process."""
  if jax.process_count() == 1:
    return jax.device_get(tree)
  return jax.tree.map(np.asarray, multihost_utils.process_allgather(tree, tiled=True))


def all_gather_bytes(data):
  """The bytes of every process, [bytes], on every process."""
  if jax.process_count() == 1:
    return [data]
  sizes = np.ravel(multihost_utils.process_allgather(np.int32(len(data))))
  padded = np.zeros(max(sizes), np.uint8)
  padded[:len(data)] = np.frombuffer(data, np.uint8)
  return [bytes(row[:n]) for row, n in
          zip(multihost_utils.process_allgather(padded), sizes)]


def most(numbers):
  """The largest of each of the numbers [int] over all processes."""
  if jax.process_count() == 1:
    return numbers
  return np.max(multihost_utils.process_allgather(np.array(numbers)), axis=0).tolist()


def exit(status):
  """Ends a process that failed: at once, as the others would be waited for at exit."""
  sys.stdout.flush()
  sys.stderr.flush()
  if jax.distributed.is_initialized() and jax.process_count() > 1:
    os._exit(status)
  sys.exit(status)
