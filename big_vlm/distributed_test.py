"""How a process learns of the others; what they then do together is in tests/processes_test.py."""
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from big_vlm import distributed, hardware
from tests import commands


def test_one_process_needs_nothing():
  assert distributed.arguments(env={}) == {}  # JAX looks for a cluster
  assert distributed.is_primary_process() and distributed.broadcast_from_primary(lambda: 3) == 3
  assert distributed.all_gather_bytes(b"x") == [b"x"]
  # A process of its own: here JAX holds devices already.
  code = "import jax; from big_vlm.distributed import start; start(); print(jax.process_count())"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                        cwd=commands.ROOT)
  assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


JAX = {"JAX_COORDINATOR_ADDRESS": "pod-0.job:8476", "JAX_NUM_PROCESSES": "4"}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_PROCID": "1",
         "SLURM_LOCALID": "1", "SLURM_NTASKS": "2"}


@pytest.mark.parametrize("flags, env, want", [
    (("h:1", 2, 1), {}, ("h:1", 2, 1)),
    (("h:1", "2", "0"), {**JAX, "JAX_PROCESS_ID": "3"}, ("h:1", 2, 0)),  # flags come first
    ((), {**JAX, "JAX_PROCESS_ID": "3"}, ("pod-0.job:8476", 4, 3)),
    ((), {**JAX, "JOB_COMPLETION_INDEX": "2"}, ("pod-0.job:8476", 4, 2)),  # Kubernetes
    (("h:1", 1, 0), {}, None),  # one of one
    ((), {**SLURM, "SLURM_NTASKS": "1"}, None),
])
def test_explicit_flags_and_variables(flags, env, want):
  got = distributed.arguments(*flags, env=env)
  assert got == (want and dict(zip(("coordinator_address", "num_processes", "process_id"), want)))


@pytest.mark.parametrize("flags, env, words", [
    (("h:1", 2, None), {}, r"--process_id \(or JAX_PROCESS_ID or JOB_COMPLETION_INDEX\) missing: "
     "--coordinator_address, --num_processes, --process_id go together"),
    ((None, 2, 0), {}, r"--coordinator_address \(or .*\) missing"),
    (("h:1", 2, 2), {}, "--process_id is 2: of 2 processes the first has 0, the last 1"),
    (("h", 2, 1), {}, "--coordinator_address is 'h', not HOST:PORT"),
    (("h:1", "two", 1), {}, "are whole numbers"),
    ((), JAX, r"or JAX_PROCESS_ID or JOB_COMPLETION_INDEX\) missing"),
])
def test_what_is_given_in_part_or_wrong(flags, env, words):
  with pytest.raises(ValueError, match=words):
    distributed.arguments(*flags, env=env)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_is_told_before_grpc_ends_the_process(host):
  with socket.create_server((host, 0)) as other:
    address = f"localhost:{other.getsockname()[1]}"
    with pytest.raises(ValueError, match=f"={address}: process 0 cannot open .*another port"):
      distributed.start(address, 2, 0)
  with pytest.raises(ValueError, match="cannot open that port"):
    distributed.start("localhost:99999", 2, 0)


def test_slurm_is_found_by_its_step(monkeypatch):
  monkeypatch.setattr(hardware, "gpus", lambda: 2)
  got = distributed.arguments(env={**SLURM, "SLURM_STEP_TASKS_PER_NODE": "2"})
  assert got == {"local_device_ids": [1]}


@pytest.mark.parametrize("gpus, visible, tasks, local, want", [
    (8, None, "1(x4)", 0, [0, 1, 2, 3, 4, 5, 6, 7]),  # one task on each node takes them all
    (8, None, "8(x4)", 3, [3]),  # one for each
    (8, "0,1,2,3", "2,1", 1, [2, 3]),  # two tasks share what the job was given
    (8, "5", "8", 3, [0]),  # SLURM bound one to the task, which sees no other
    (0, None, "4", 3, None),  # CPUs
])
def test_which_gpus_are_a_task_s(gpus, visible, tasks, local, want):
  env = {"SLURM_LOCALID": str(local), "SLURM_STEP_TASKS_PER_NODE": tasks}
  env |= {"CUDA_VISIBLE_DEVICES": visible} if visible else {}
  assert distributed.slurm_devices(env, gpus) == want


def test_who_is_connected_to_a_port():
  with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    served = [server.accept()[0] for _ in clients]
    others = distributed.connected(port)
    assert len(others) == 2  # one is the coordinator's own
    assert all(name.startswith("127.0.0.1:") for name in others)
    assert "it reaches" in distributed.reach(f"127.0.0.1:{port}")
    for s in clients + served:
      s.close()
  assert "it does not reach" in distributed.reach(f"127.0.0.1:{port}", seconds=1)


def test_addresses_of_other_machines(monkeypatch):
  def connection(ip, port, status="ESTABLISHED", local=8443):
    return SimpleNamespace(status=status, laddr=SimpleNamespace(port=local),
                           raddr=SimpleNamespace(ip=ip, port=port))
  monkeypatch.setattr(psutil, "net_connections", lambda kind: [
      connection("10.0.0.2", 5000), connection("::ffff:10.0.0.3", 5000),
      connection("2001:db8::1", 5000), connection("127.0.0.1", 5000), connection("::1", 6000),
      connection("10.0.0.9", 5000, "LISTEN"), connection("10.0.0.9", 5000, local=22)])
  assert distributed.connected(8443) == ["10.0.0.2", "10.0.0.3", "2001:db8::1", "::1:6000"]
  assert distributed.connected(1) == []


# Two processes with different configs, and one that fails where the other waits for it.
PAIR = """
import os, sys
from big_vlm import cli, distributed
index, port, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
distributed.start(f"localhost:{port}", 2, index, timeout=60)
if what == "killed":
  if index:
    os.kill(os.getpid(), 9)
  cli.run(lambda: distributed.assert_same("x", "configs"))
try:
  if what == "differ":
    distributed.assert_same(f"seed = {index}", "configs")
  def make():
    raise OSError("no room")
  if what == "fail":
    distributed.broadcast_from_primary(make)
  assert distributed.broadcast_from_primary(lambda: {"a": [1, "b"]}) == {"a": [1, "b"]}
  assert distributed.all_gather_bytes(b"x" * (index + 1)) == [b"x", b"xx"]
  print("done", file=sys.stderr)
except (ValueError, OSError) as e:
  print(type(e).__name__, e, file=sys.stderr)
"""


def pair(what):
  """The two processes, started."""
  with socket.socket() as s:
    s.bind(("localhost", 0))
    port = str(s.getsockname()[1])
  return [subprocess.Popen([sys.executable, "-c", PAIR, str(i), port, what], text=True,
                           cwd=commands.ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                           env={**os.environ, "JAX_PLATFORMS": "cpu"}) for i in range(2)]


def test_a_process_that_is_killed_ends_the_others_with_a_sentence():
  first, second = pair("killed")
  _, said = first.communicate(timeout=100)
  second.communicate()
  assert first.returncode == 1 and "Traceback" not in said, said
  assert "error: Another process of this run has ended" in said, said


@pytest.mark.parametrize("what, words", [
    ("agree", "done"), ("fail", "OSError no room"),
    ("differ", r"ValueError The processes of this run have different configs: [1] differ")])
def test_two_processes(what, words):
  for process in pair(what):
    _, said = process.communicate(timeout=100)
    assert process.returncode == 0 and words in said, said


def test_hardware_is_read_from_the_kernel(tmp_path):
  for i, (vendor, device) in enumerate([("0x1ae0", "0x0063"), ("0x1ae0", "0x0042"),
                                        ("0x10de", "0x2330"), ("0x1ae0", "0x0063")]):
    folder = tmp_path / "sys/bus/pci/devices" / f"0000:00:0{i}.0"
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(vendor + "\n")
    (folder / "device").write_text(device + "\n")
  (tmp_path / "dev").mkdir()
  for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
    (tmp_path / "dev" / name).touch()
  assert hardware.tpu_chips(tmp_path) == ["v5e", "v5e"]  # 0x0042 is Google's network card
  assert hardware.gpus(tmp_path) == 2
