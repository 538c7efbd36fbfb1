"""Real processes on loopback: the same run whatever their number, stopped, resumed on the way."""
import collections
import json
import socket
import subprocess

import jax
import numpy as np
import pytest
from PIL import Image

import big_vlm
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
  def start(workdir, count, *flags, config=config, **env):
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


TOWERS = """
from configs import common

def get_config():
  c = common.train(total_steps=3, log_steps=1, checkpoint_steps=3,
                   tokenizer="sp('{data_dir}/digits/tiny/1.0.0/tokenizer.model')")
  c.model.img = dict(variant="tiny", image_size=32, width=32, depth=1, pool="map")
  c.model.txt = dict(variant="text_tiny", vocab_size=480, length=16, width=32, depth=1)
  data = lambda split: dict(name="digits/tiny", split=split, data_dir={data_dir!r})
  pp = "flatten|decode|resize|copy('captions/en', 'said')|"
  c.input.mixture = [dict(data=data("train"), pp=pp + "pair_layout(key='said')")]
  c.input.update(batch_size=24, workers=0)
  c.optimizer.update(name="sgd", lr=0.1, clip_norm=0.)  # parameters differ as gradients do
  c.loss.name = "sigmoid"
  c.evals.val = dict(type="retrieval", data=data("val"), batch_size=24, steps=3, captions="said",
                     pp=pp + "keep('image', 'said', 'id')")
  return c
"""


def test_two_towers_of_two_processes_are_those_of_one(tmp_path, start, data_dir):
  """The loss compares all images of both with all texts of both."""
  config = tmp_path / "towers.py"
  config.write_text(TOWERS.format(data_dir=data_dir))
  for count in (1, 2):
    finish(start(tmp_path / str(count), count, config=config))
  one, two = ([json.loads(line) for line in (tmp_path / n / "metrics.jsonl").open()] for n in "12")
  shared = {"loss", "positives", "negatives", "temperature", "bias", "val/txt2img_recall@5"}
  assert shared <= {name for row in one for name in row}
  for a, b in zip(one, two, strict=True):
    for name in shared & {*a}:
      np.testing.assert_allclose(b[name], a[name], rtol=1e-5, err_msg=f"{name}, step {a['step']}")
  leaves = [jax.tree.leaves(big_vlm.from_preset(tmp_path / n).params) for n in "12"]
  for a, b in zip(*leaves, strict=True):
    np.testing.assert_allclose(b, a, atol=1e-6)


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
