"""Kills a training run with SIGKILL many times and compares it with an undisturbed run, bit by bit.

  python -m benchmarks.kills [--kills 100] [--size tiny] [--data_dir data] [--tune]

It trains the quickstart's model with dropout, or tunes it on its boxes (--tune), logs every step
and saves every other one. It kills each start after a few more steps: every second one during a
save, one in ten before the first step, and the others at a random moment. The last start runs to
the end. Then it compares every parameter, the whole optimizer state and the logged losses with
those of an undisturbed run. It prints a summary and writes benchmarks/results/kills.json, or
kills_tune.json.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import orbax.checkpoint as ocp

from big_vlm.checkpoints import steps
from big_vlm.metric_writer import read_metrics

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SAVE_EVERY = 2  # steps
PER_KILL = 6  # steps of the run for each kill
CONFIG = """
from configs import digits
digits.DATA_DIR = {data_dir!r}

def get_config():
  c = digits.get_config({size!r})
  c.total_steps, c.log_steps, c.checkpoint_steps, c.evals = {total}, 1, {every}, {{}}
  c.model.llm.dropout = 0.1  # so that a wrong random state would show
  return c
"""
TUNE_CONFIG = """
from configs.tune import detect

def get_config():
  c = detect.get_config("size={size},data_dir={data_dir},steps={total}")
  c.log_steps, c.checkpoint_steps, c.evals, c.input.batch_size = 1, {every}, {{}}, 4
  c.tune.update(samples=2, algorithm="grpo", updates=2, kl=0.1)  # all that a step can compute
  return c
"""


class Run:
  """A training run in its own folder."""

  def __init__(self, folder, config, trainer):
    self.folder = folder
    self._args = [sys.executable, "-m", f"trainers.{trainer}", "--config", str(config),
                  "--workdir", str(folder)]
    self._env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}

  def start(self):
    self.folder.mkdir(parents=True, exist_ok=True)
    log = (self.folder / "log.txt").open("a")
    return subprocess.Popen(self._args, cwd=ROOT, env=self._env, stdout=log, stderr=log)

  def finish(self):
    if self.start().wait():
      raise RuntimeError(f"The run failed:\n{self.log()[-3000:]}")

  def log(self):
    return (self.folder / "log.txt").read_text()

  def step(self):
    """The last step in the log."""
    path = self.folder / "metrics.jsonl"
    return max((row["step"] for row in read_metrics(path)), default=0) if path.exists() else 0

  def saving(self):
    """Whether a save is under way, or was when the process was killed."""
    folder = self.folder / "checkpoints"
    return folder.exists() and any(ocp.utils.is_tmp_checkpoint(p) for p in folder.iterdir())


def kill(run, target, how, rng):
  """Starts the run and kills it as `how` says; returns whether a save was under way."""
  process = run.start()
  if how == "starting":
    time.sleep(rng.uniform(0, 8))
  else:
    wait(process, run, lambda: run.step() >= target)
    if how == "saving":
      wait(process, run, run.saving)
      time.sleep(rng.uniform(0, 0.1))
    else:
      time.sleep(rng.uniform(0, 0.5))
  process.kill()
  if process.wait() != -9:
    raise RuntimeError(f"The run ended before it was killed:\n{run.log()[-3000:]}")
  return run.saving()


def wait(process, run, until, seconds=300):
  deadline = time.monotonic() + seconds
  while not until():
    if process.poll() is not None or time.monotonic() > deadline:
      raise RuntimeError(f"The run ended or hangs:\n{run.log()[-3000:]}")
    time.sleep(0.002)


def state(folder, step):
  """{name: array} of all leaves of a checkpoint."""
  found = {}
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
    for item in ("params", "train"):
      path = (folder / "checkpoints" / str(step) / item).absolute()
      tree = reader.restore(path)
      found |= {f"{item}{jax.tree_util.keystr(path)}": np.asarray(x)
                for path, x in jax.tree_util.tree_leaves_with_path(tree)}
  return found


def compare(got, want, total):
  """(leaves that differ, steps with another loss, {name: array}) of two finished runs."""
  a, b = state(got, total), state(want, total)
  leaves = sorted(n for n in set(a) | set(b)
                  if n not in a or n not in b or a[n].tobytes() != b[n].tobytes())
  losses = [{row["step"]: row["loss"] for row in read_metrics(w / "metrics.jsonl")}
            for w in (got, want)]
  return leaves, sorted(s for s in range(1, total + 1) if losses[0].get(s) != losses[1].get(s)), a


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--kills", type=int, default=100)
  parser.add_argument("--size", default="tiny", help="of the quickstart's data set")
  parser.add_argument("--data_dir", default=str(ROOT / "data"))
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--tune", action="store_true", help="kill trainers.tune")
  parser.add_argument("--out", type=pathlib.Path)
  args = parser.parse_args()
  rng, total = random.Random(args.seed), PER_KILL * args.kills + 2 * PER_KILL
  home = pathlib.Path(tempfile.mkdtemp(prefix="kills-"))
  config = home / "config.py"
  text, trainer = (TUNE_CONFIG, "tune") if args.tune else (CONFIG, "train")
  out = args.out or RESULTS / ("kills_tune.json" if args.tune else "kills.json")
  config.write_text(text.format(data_dir=os.path.abspath(args.data_dir), size=args.size,
                                total=total, every=SAVE_EVERY))
  straight, victim = (Run(home / name, config, trainer) for name in ("straight", "victim"))
  began = time.monotonic()
  straight.finish()
  print(f"straight run: {total} steps in {time.monotonic() - began:.0f} s", flush=True)
  counts = {"starting": 0, "saving": 0, "anywhere": 0}
  inside, lost, began = 0, [], time.monotonic()
  for i in range(args.kills):
    how = ("saving" if i % 2 else "starting" if rng.random() < 0.2 else "anywhere")
    inside += kill(victim, PER_KILL * (i + 1), how, rng)
    counts[how] += 1
    complete = max(steps.steps(victim.folder / "checkpoints"), default=0)
    lost.append(victim.step() - complete)
    print(f"kill {i + 1} ({how}): at step {victim.step()}, newest complete checkpoint {complete}",
          flush=True)
  victim.finish()
  leaves, other_losses, found = compare(victim.folder, straight.folder, total)
  log = victim.log()
  result = {
      "date": datetime.date.today().isoformat(), "commit": commit(), "jax": jax.__version__,
      "device": f"cpu, {platform.machine()}, {os.cpu_count()} cores", "kills": args.kills,
      "kinds": counts, "with a save under way": inside, "steps": total,
      "resumed": log.count("resuming from step"), "checkpoints skipped": log.count("skipping"),
      "steps lost": {"mean": round(float(np.mean(lost)), 2), "most": max(lost)},
      "seconds": round(time.monotonic() - began), "leaves compared": len(found),
      "values compared": sum(x.size for x in found.values()),
      "leaves that differ": leaves, "steps with another loss": other_losses}
  print(json.dumps(result, indent=1))
  if leaves or other_losses:
    sys.exit(f"The runs differ; they are in {home}.")
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(result, indent=1) + "\n")
  shutil.rmtree(home)


def commit():
  git = lambda *args: subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True)
  changed = git("status", "--porcelain", "--untracked-files=no").stdout.strip()
  return git("rev-parse", "--short", "HEAD").stdout.strip() + " with changes" * bool(changed)


if __name__ == "__main__":
  main()
