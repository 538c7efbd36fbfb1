"""Stopped anywhere, a run resumes with the losses and parameters of an undisturbed one, exactly."""
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


def write_config(folder, data_dir, *changes):
  path = folder / "resume.py"
  path.write_text(
      "import os, time\n"
      "from big_vlm.training import nan_guard\n"
      f"from configs import digits\ndigits.DATA_DIR = {data_dir!r}\n"
      "watch = nan_guard.NaNGuard.watch\n"
      "def slow(*args):\n"  # steps of 25 ms are over before a signal comes
      "  time.sleep(float(os.environ.get('SLOW', 0)))\n"
      "  return watch(*args)\n"
      "nan_guard.NaNGuard.watch = slow\n"
      "def get_config():\n"
      "  c = digits.get_config('tiny')\n"
      "  c.model.img.update(width=32, depth=1, heads=2, mlp=64)\n"
      "  c.model.llm.update(width=32, depth=1, heads=2, head_dim=16, mlp=64)\n"
      f"  c.total_steps, c.log_steps, c.checkpoint_steps, c.evals = {STEPS}, 1, {EVERY}, {{}}\n"
      "  c.input.batch_size = 8\n"
      "  c.model.llm.dropout = 0.1\n"  # so that a wrong random state would show
      + "".join(f"  c.{change}\n" for change in changes) + "  return c\n")
  return path


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
  """Each start would compile the same programs: 3 s."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
    patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    yield


@pytest.fixture(scope="module")
def config(tmp_path_factory, data_dir):
  return write_config(tmp_path_factory.mktemp("configs"), data_dir)


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


def end_at(workdir, config, target, number, **env):
  """Starts a run and sends it a signal once it has logged `target` steps; (status, what it said).
  """
  victim = subprocess.Popen(
      **commands.popen_args(commands.train(workdir, config=config), env={"SLOW": "0.1", **env}),
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
  metrics, deadline = workdir / "metrics.jsonl", time.monotonic() + 200
  while time.monotonic() < deadline and not (
      metrics.exists() and metrics.read_text().count("\n") >= target):
    time.sleep(0.005)
  victim.send_signal(number)
  said = victim.communicate(timeout=100)[0]
  return victim.returncode, said


def resume(workdir, config, **env):
  done = commands.run(*commands.train(workdir, config=config), **env)
  assert done.returncode == 0, done.stderr[-3000:]
  assert "resuming from step" in done.stdout
  return done.stdout


def same(workdir, straight):
  assert losses(workdir) == losses(straight) and len(losses(straight)) == STEPS
  jax.tree.map(np.testing.assert_array_equal, params(workdir), params(straight))


def devices(n):
  flags = f"{commands.OLDER_EMITTERS} --xla_force_host_platform_device_count={n}"
  return {"XLA_FLAGS": flags}


def test_killed_at_a_random_step_and_resumed(tmp_path, config, straight):
  # Past a first checkpoint, which is whole when a second begins; the kill may fall into a save.
  status, _ = end_at(tmp_path, config, random.randint(2 * EVERY + 1, STEPS - 2), signal.SIGKILL)
  assert status == -signal.SIGKILL  # it was killed, not done
  resume(tmp_path, config)
  same(tmp_path, straight)


def stopped(workdir, number, said):
  """The step after which a run was stopped by a signal; asserts that it said so."""
  step = max(int(p.name) for p in (workdir / "checkpoints").iterdir())
  assert f"{number.name}: stopping after this step" in said and "Traceback" not in said
  assert f"stopped after step {step}, saved in" in said and step >= max(losses(workdir))
  return step


def test_where_a_signal_saved_and_the_checkpoint_is_damaged_the_one_before_serves(
    tmp_path, config, straight):
  status, said = end_at(tmp_path, config, 4, signal.SIGINT)
  assert status == 130, said
  step = stopped(tmp_path, signal.SIGINT, said)
  path = max((tmp_path / "checkpoints" / str(step) / "params").rglob("d/*"),
             key=lambda p: p.stat().st_size)
  path.write_bytes(path.read_bytes()[:-1])
  said = resume(tmp_path, config)
  assert f"skipping checkpoint {step}: params/" in said and f"resuming from step {EVERY}" in said
  same(tmp_path, straight)


def test_one_eight_and_two_devices_are_one_run(tmp_path, config, straight):
  status, said = end_at(tmp_path, config, 4, signal.SIGTERM)
  assert status == 143, said
  step = stopped(tmp_path, signal.SIGTERM, said)
  _, said = end_at(tmp_path, config, 8, signal.SIGTERM, **devices(8))
  assert f"resuming from step {step}" in said  # not a step is lost
  resume(tmp_path, config, **devices(2))
  got, want = losses(tmp_path), losses(straight)
  np.testing.assert_allclose([got[s] for s in want], list(want.values()), atol=1e-5)


def test_a_finished_run_does_nothing_more(straight, config):
  before = losses(straight)
  done = commands.run(*commands.train(straight, config=config))
  assert done.returncode == 0 and "nothing is left to do" in done.stdout, done.stderr[-3000:]
  assert losses(straight) == before


def test_another_config_is_refused_and_leaves_the_run_as_it_is(straight, config):
  before = (straight / "config.json").read_text()
  done = commands.run(*commands.train(straight, "--config.optimizer.lr=1", config=config))
  assert done.returncode == 1 and "config.optimizer.lr: 0.001 -> 1.0\n" in done.stderr
  assert (straight / "config.json").read_text() == before


def test_going_on_from_another_run(tmp_path, config, straight, data_dir):
  first = tmp_path / "first"
  end_at(first, config, 7, signal.SIGTERM)
  other = write_config(tmp_path, data_dir, f"resume = {str(first)!r}")
  done = commands.run(*commands.train(tmp_path / "second", config=other))
  assert done.returncode == 0 and f"of {first}" in done.stdout, done.stderr[-3000:]
  want = losses(straight)  # the optimizer and the step came along, and the stream went on
  got = losses(tmp_path / "second")
  assert 7 <= min(got) <= STEPS - 2 and got == {s: want[s] for s in got}
  jax.tree.map(np.testing.assert_array_equal, params(tmp_path / "second"), params(straight))


def test_a_stage_begins_with_the_parameters_of_the_last(tmp_path, straight, data_dir):
  # Chained stages: only the parameters come along; optimizer, schedule and step are new.
  config = write_config(tmp_path, data_dir, f"init.model = {str(straight)!r}", "total_steps = 2",
                        "optimizer.lr = 1e-9",
                        "optimizer.schedule = (('.*', dict(decay='constant')),)")
  done = commands.run(*commands.train(tmp_path / "next", config=config))
  assert done.returncode == 0, done.stderr[-3000:]
  assert f"init: model from {straight}/checkpoints/{STEPS}" in done.stdout
  assert sorted(losses(tmp_path / "next")) == [1, 2]
  source = native.open_source(tmp_path / "next")
  for name, leaf in source.leaves.items():
    np.testing.assert_allclose(leaf.read(()), params(straight)[name], atol=1e-6)


def test_a_diverging_run_stops_and_keeps_its_checkpoint(tmp_path, data_dir):
  schedule = ("optimizer.schedule = "
              "(('.*', dict(decay='piecewise_constant', steps=(5,), mults=(1e17,))),)")
  config = write_config(tmp_path, data_dir, schedule)
  done = commands.run(*commands.train(tmp_path / "w", config=config))
  assert done.returncode == 1
  assert "error: Step" in done.stderr and "First bad: " in done.stderr, done.stderr[-3000:]
  assert "digits/tiny/train:" in done.stderr  # the examples
  kept = [int(p.name) for p in (tmp_path / "w" / "checkpoints").iterdir()]
  assert max(kept) <= 6
