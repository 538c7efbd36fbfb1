"""Real processes on loopback: the same run whatever their number, stopped, resumed on the way."""
import collections
import json
import os
import socket
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests import commands

STEPS = 12
CONFIG = """
import json, os, pathlib, signal, time
import jax
from big_vlm.training import nan_guard
from configs import digits
digits.DATA_DIR = {data_dir!r}

watch = nan_guard.NaNGuard.watch
def note(self, step, state, metrics, batch, ids):  # which examples a process feeds
  path = pathlib.Path(os.environ["IDS"]) / f"{{jax.process_count()}}-{{jax.process_index()}}.jsonl"
  with path.open("a") as f:
    f.write(json.dumps([step, ids]) + "\\n")
  stop = int(os.environ.get("STOP", {steps}))
  if step == stop < {steps} and jax.process_index() == jax.process_count() - 1:
    os.kill(os.getpid(), signal.SIGTERM)  # one of them hears of it, all stop
  time.sleep(step >= stop and stop < {steps})  # JAX looks once a second whether one has
  return watch(self, step, state, metrics, batch, ids)
nan_guard.NaNGuard.watch = note

def get_config():
  c = digits.get_config("tiny")
  c.model.img.update(width=32, depth=1, heads=2, mlp=64, unroll=1)
  c.model.llm.update(width=32, depth=1, heads=2, head_dim=16, mlp=64, unroll=1, dropout=0.1)
  c.input.batch_size, c.input.workers = 8, 0
  c.optimizer.name, c.optimizer.args = "adamw", {{}}
  c.total_steps, c.log_steps, c.checkpoint_steps, c.max_to_keep = {steps}, 1, 5, 9
  c.evals = {{"ocr": {{**c.evals.ocr.to_dict(), "batch_size": 24, "steps": 0,
                     "max_new_tokens": 2}},
             "all": {{"type": "mean", "evals": ("ocr",), "metric": "acc"}}}}
  c.best = dict(metric="all/acc")
  return c
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory, data_dir):
  path = tmp_path_factory.mktemp("configs") / "processes.py"
  path.write_text(CONFIG.format(data_dir=data_dir, steps=STEPS))
  return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def start(config, cache):
  """A function: starts a training in so many processes; [subprocess.Popen]."""
  def start(workdir, count, *flags, **env):
    (workdir / "ids").mkdir(parents=True, exist_ok=True)
    env = {"JAX_COMPILATION_CACHE_DIR": str(cache), "IDS": str(workdir / "ids"), **env}
    port = free_port()
    each = [["--coordinator_address", f"localhost:{port}", "--num_processes", count,
             "--process_id", i] if count > 1 else [] for i in range(count)]
    return [subprocess.Popen(
        **commands.popen_args(commands.train(workdir, *one, *flags, config=config), env=env),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE) for one in each]
  return start


def free_port():
  with socket.socket() as s:
    s.bind(("localhost", 0))
    return s.getsockname()[1]


def finish(processes, status=0):
  """Waits for all; returns (stdout, stderr) of each."""
  said = [p.communicate(timeout=200) for p in processes]
  assert [p.returncode for p in processes] == [status] * len(processes), said[0][1][-3000:]
  return said


def losses(workdir):
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().split("\n")[:-1]]
  assert [row["all/acc"] for row in rows if "all/acc" in row] == [
      row["ocr/acc"] for row in rows if "ocr/acc" in row]  # the mean over one eval
  return {row["step"]: row["loss"] for row in rows if "loss" in row}


def figures(workdir):
  """{metric of an evaluation: value} at the end."""
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().split("\n")[:-1]]
  return {k: v for row in rows if row["step"] == STEPS for k, v in row.items()
          if k.startswith("ocr/")}


def examples(workdir):
  """{step: the ids of its batch, row by row}, of runs with any number of processes."""
  found = collections.defaultdict(dict)
  for path in (workdir / "ids").glob("*.jsonl"):
    count, process = path.stem.split("-")
    for line in path.read_text().splitlines():
      step, ids = json.loads(line)
      found[step, int(count)][int(process)] = ids
  return {step: sum((parts[p] for p in sorted(parts)), []) for (step, _), parts in found.items()}


def same_run(got, want):
  assert examples(got) == examples(want) and len(examples(got)) == STEPS
  assert all((w / "best/checkpoints" / str(STEPS) / "params").exists() for w in (got, want))
  np.testing.assert_allclose([losses(got)[s] for s in range(1, STEPS + 1)],
                             [losses(want)[s] for s in range(1, STEPS + 1)], atol=1e-5)
  assert figures(got) == figures(want) and "ocr/acc" in figures(want)
  answers = [[json.loads(line) for line in
              (w / "predictions" / f"ocr-{STEPS}.jsonl").read_text().splitlines()]
             for w in (got, want)]
  assert len(answers[0]) == 64  # every example once, though 24 does not divide 64
  for a, b in zip(*answers, strict=True):
    np.testing.assert_allclose(a.pop("logprobs"), b.pop("logprobs"), atol=1e-4)
    assert a == b


@pytest.fixture(scope="module")
def straight(tmp_path_factory, start):
  workdir = tmp_path_factory.mktemp("straight")
  finish(start(workdir, 1))
  return workdir


SIGMOID = """
import sys
import jax, numpy as np
from big_vlm import distributed, sharding
from big_vlm.training import sigmoid
distributed.start(sys.argv[1], 2, int(sys.argv[2]))
rng, mesh = np.random.default_rng(0), sharding.make_mesh()
zi, zt = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, 12, 4)))
rows = sharding.make_global_array(mesh, {"i": np.float32(zi), "t": np.float32(zt)})
t, b = np.log([10.]), np.array([-5.])
with jax.set_mesh(mesh):
  (loss, _), gradients = jax.jit(sigmoid.value_and_gradients)(
      rows["i"], rows["t"], np.float32(t), np.float32(b))
  loss, gradients = map(distributed.fetch, (loss, gradients))
z = 2 * np.eye(12) - 1
logits = zi @ zt.T * np.exp(t) + b
of_logits = -z / (1 + np.exp(z * logits)) / 12
want = [of_logits @ zt * np.exp(t), of_logits.T @ zi * np.exp(t),
        [(of_logits * (logits - b)).sum()], [of_logits.sum()]]
np.testing.assert_allclose(loss, np.logaddexp(0, -z * logits).sum() / 12, rtol=1e-6)
for got, right in zip(gradients, want, strict=True):
  np.testing.assert_allclose(got, right, rtol=1e-6, atol=1e-6)
print(f"{mesh.size} devices, {jax.process_count()} processes")
"""


def test_the_sigmoid_loss_of_two_processes_is_that_of_all_pairs(tmp_path):
  (tmp_path / "sigmoid_loss.py").write_text(SIGMOID)
  address = f"localhost:{free_port()}"
  env = {"PYTHONPATH": f"{commands.ROOT}:{tmp_path}", "JAX_NUM_CPU_DEVICES": "2"}
  said = finish([subprocess.Popen(
      **commands.popen_args(["sigmoid_loss", address, i]) | {"env": {**os.environ, **env,
                                                                    "JAX_PLATFORMS": "cpu"}},
      stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i in range(2)])
  assert "4 devices, 2 processes" in said[0][0]  # the first speaks


def test_one_two_and_one_process_are_one_run(tmp_path, start, straight):
  for count, until in ((1, 2), (2, 6)):
    said = finish(start(tmp_path, count, STOP=str(until)), status=143)
    assert "stopped after step" in said[0][0], said[0][0]
    assert all(out == "" or out.startswith("[Gloo]") for out, _ in said[1:])  # the first speaks
  out = finish(start(tmp_path, 1))[0][0]
  assert "resuming from step" in out
  same_run(tmp_path, straight)


def test_four_processes(tmp_path, start, straight):
  finish(start(tmp_path, 4))
  same_run(tmp_path, straight)


def test_packed_rows_of_two_processes_are_those_of_one(tmp_path, start):
  flags = ["--config.input.packing=pack", "--config.input.row_examples=2"]
  for count in (1, 2):
    finish(start(tmp_path / str(count), count, *flags))
  same_run(tmp_path / "2", tmp_path / "1")


def test_predictions_of_two_processes_are_those_of_one(tmp_path, cache, rng):
  """Each reads and decodes its half of every batch; the answers are in the order of the input."""
  (tmp_path / "in").mkdir()
  for i in range(7):
    Image.fromarray(rng.integers(0, 256, (40, 30, 3)).astype(np.uint8)).save(
        tmp_path / "in" / f"{i}.png")
  port, answers = free_port(), []
  for count in (1, 2):
    out = tmp_path / f"{count}.jsonl"
    flags = [["--coordinator_address", f"localhost:{port}", "--num_processes", count,
              "--process_id", i] if count > 1 else [] for i in range(count)]
    finish([subprocess.Popen(
        **commands.popen_args(
            ["tools.predict", "digits", "--input", tmp_path / "in", "--prompt", "ocr", "--out", out,
             "--batch_size", 4, *one], env={"JAX_COMPILATION_CACHE_DIR": str(cache)}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE) for one in flags])
    answers.append([json.loads(line) for line in out.read_text().splitlines()])
  assert [a["id"] for a in answers[0]] == [f"{i}.png" for i in range(7)]
  for a, b in zip(*answers, strict=True):
    np.testing.assert_allclose(a.pop("logprobs"), b.pop("logprobs"), atol=1e-4)
    for one in (a, b):
      for found in one["detections"]:
        found.pop("score")
    assert a == b


@pytest.fixture(scope="module", autouse=True)
def incomplete(tmp_path_factory, start):
  """Two of three processes, started at once: their time passes while other tests run."""
  flags = ["--num_processes", "3", "--coordinator_address", f"localhost:{free_port()}"]
  return [start(tmp_path_factory.mktemp("incomplete"), 1, *flags, "--process_id", i,
                "--initialization_timeout", 20 + 20 * i)[0]
          for i in range(2)]  # the first counts before the second leaves


def test_a_missing_process_is_told_after_the_time_out(incomplete):
  (_, of_first), (_, of_second) = finish(incomplete, status=1)
  assert "After 20 s not all 3 processes of this run have come together" in of_first
  assert "This is process 0; 1 of 2 others are connected" in of_first and "firewall" in of_first
  assert "This is process 1" in of_second
