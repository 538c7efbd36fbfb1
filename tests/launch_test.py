"""The launchers: their shell and YAML; the SLURM one runs with a srun that starts two tasks."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import yaml

from tests import commands

LAUNCH = commands.ROOT / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))

# A task runs this in place of Python. It checks its arguments and joins the other task.
TASK = f"""#!{sys.executable}
import os, sys
import jax
from big_vlm import distributed
distributed.start(timeout=60)
assert jax.process_count() == 2 and jax.process_index() == int(os.environ["SLURM_PROCID"])
assert sys.argv[1:] == ["-m", "trainers.train", "--config", "a b.py:size=[1, 2]"], sys.argv
print("together")
sys.exit(int(os.environ.get("STATUS", 0)))
"""

# srun for two tasks on this machine; it ends with the highest status of the two.
SRUN = """#!/bin/bash
[[ $1 == --* ]] && shift
for i in 0 1; do
  SLURM_PROCID=$i SLURM_LOCALID=$i SLURM_NTASKS=2 SLURM_STEP_NODELIST=localhost \
    SLURM_STEP_TASKS_PER_NODE=2 "$@" & jobs[i]=$!
done
worst=0
for job in "${jobs[@]}"; do wait "$job"; status=$?; (( status > worst )) && worst=$status; done
exit $worst
"""


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_the_shell_is_sound(path):
  assert os.access(path, os.X_OK)
  subprocess.run(["bash", "-n", path], check=True)
  if checker := shutil.which("shellcheck") or shutil.which(
      "shellcheck", path=pathlib.Path(sys.executable).parent):
    done = subprocess.run([checker, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_counts_of_the_jobset_agree():
  text = (LAUNCH / "jobset.yaml").read_text()
  jobs, = yaml.safe_load(text)["spec"]["replicatedJobs"]
  job = jobs["template"]["spec"]
  container, = job["template"]["spec"]["containers"]
  variables = {e["name"]: e for e in container["env"]}
  assert job["parallelism"] == job["completions"] == int(variables["JAX_NUM_PROCESSES"]["value"])
  host, _, port = variables["JAX_COORDINATOR_ADDRESS"]["value"].partition(":")
  name = yaml.safe_load(text)["metadata"]["name"]
  assert host == f"{name}-{jobs['name']}-0-0.{name}"  # the host name JobSet gives to pod 0
  assert int(port) == container["ports"][0]["containerPort"]
  assert container["command"] == ["python", "-m", "trainers.train"]
  assert (commands.ROOT / container["args"][1]).exists()


@pytest.mark.parametrize("status", [0, 143])
def test_two_tasks_of_slurm_find_each_other(tmp_path, status):
  tools = {"task": TASK, "srun": SRUN, "scontrol": f"#!/bin/bash\necho $@ > {tmp_path}/requeued\n"}
  for name, text in tools.items():
    (tmp_path / name).write_text(text)
    (tmp_path / name).chmod(0o755)
  done = subprocess.run(
      ["bash", LAUNCH / "slurm.sh", "--config", "a b.py:size=[1, 2]"],
      capture_output=True, text=True, timeout=120, cwd=commands.ROOT,
      env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "STATUS": str(status),
           "PYTHON": str(tmp_path / "task"), "PYTHONPATH": str(commands.ROOT),
           "JAX_PLATFORMS": "cpu",
           "SLURM_JOB_ID": str(os.getpid()), "SLURM_SUBMIT_DIR": str(commands.ROOT)})
  assert done.returncode == status, done.stderr
  assert done.stdout.count("together") == 1  # the first speaks
  # Only a run that SIGTERM stopped goes back into the queue.
  requeued = tmp_path / "requeued"
  assert requeued.exists() == (status == 143)
  assert not status or requeued.read_text() == f"requeue {os.getpid()}\n"
