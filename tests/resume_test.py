"""Killed anywhere, a run goes on as if nothing had been: same losses and parameters, exactly."""
import json
import random
import signal
import subprocess
import time

import jax
import numpy as np
import pytest

from big_vlm.checkpoints import native
from tests import commands

STEPS, EVERY = 16, 3


@pytest.fixture(scope="module")
def config(tmp_path_factory, data_dir):
  path = tmp_path_factory.mktemp("configs") / "resume.py"
  path.write_text(
      f"from configs import quickstart\nquickstart.DATA_DIR = {data_dir!r}\n"
      "def get_config():\n"
      "  c = quickstart.get_config('tiny')\n"
      f"  c.total_steps, c.log_steps, c.checkpoint_steps, c.evals = {STEPS}, 1, {EVERY}, {{}}\n"
      "  c.model.llm.dropout = 0.1\n"  # so that a wrong random state would show
      "  return c\n")
  return path


@pytest.fixture(scope="module")
def straight(config, tmp_path_factory):
  """The work folder of the run that nothing disturbs."""
  workdir = tmp_path_factory.mktemp("straight")
  done = commands.run(*commands.train(workdir, config=config))
  assert done.returncode == 0, done.stderr[-3000:]
  return workdir


def losses(workdir):
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return {row["step"]: row["loss"] for row in rows}


def params(workdir):
  source = native.open_source(workdir)
  assert source.path.endswith(f"checkpoints/{STEPS}")
  return {name: leaf.read(()) for name, leaf in source.leaves.items()}


def kill_at(workdir, config, target):
  """Starts a run and kills it with SIGKILL once it has logged `target` steps."""
  victim = subprocess.Popen(**commands.popen_args(commands.train(workdir, config=config)),
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  metrics, deadline = workdir / "metrics.jsonl", time.monotonic() + 200
  while time.monotonic() < deadline and not (
      metrics.exists() and metrics.read_text().count("\n") >= target):
    time.sleep(0.005)
  victim.send_signal(signal.SIGKILL)
  assert victim.wait() == -signal.SIGKILL  # it was killed, not done


def resume(workdir, config, **env):
  done = commands.run(*commands.train(workdir, config=config), **env)
  assert done.returncode == 0, done.stderr[-3000:]
  assert "resuming from step" in done.stdout


def test_killed_at_a_random_step_and_resumed(tmp_path, config, straight):
  # Past a first checkpoint; the kill may fall into a later save.
  kill_at(tmp_path, config, random.randint(EVERY + 2, STEPS - 2))
  resume(tmp_path, config)
  assert losses(tmp_path) == losses(straight) and len(losses(straight)) == STEPS
  jax.tree.map(np.testing.assert_array_equal, params(tmp_path), params(straight))


def test_resumed_on_eight_devices(tmp_path, config, straight):
  kill_at(tmp_path, config, STEPS // 2)
  resume(tmp_path, config, XLA_FLAGS="--xla_force_host_platform_device_count=8")
  got, want = losses(tmp_path), losses(straight)
  np.testing.assert_allclose([got[s] for s in want], list(want.values()), atol=1e-5)


def test_a_finished_run_does_nothing_more(straight, config):
  before = losses(straight)
  resume(straight, config)
  assert losses(straight) == before
