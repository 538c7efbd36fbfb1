"""The best checkpoint of real trainings, killed and resumed, and one that stops early."""
import json
import random
import signal

import jax
import numpy as np
import pytest

import big_vlm
from big_vlm.checkpoints.steps import steps
from tests import commands
from tests.resume_test import STEPS, end_at, params, write_config


@pytest.fixture(scope="module")
def config(tmp_path_factory, data_dir):
  folder = tmp_path_factory.mktemp("configs")
  data = dict(name="digits/tiny", split="val[:16]", data_dir=data_dir)
  pp = ("flatten|decode|resize|strfmt('ocr', outkey='prefix')|copy('ocr', 'suffix')|text_layout")
  evals = dict(loss=dict(type="perplexity", data=data, steps=2, at_start=True,
                         batch_size=16, pp=pp))
  flat = (("img/.*", None), (".*", dict(decay="constant")))
  return write_config(folder, data_dir, f"evals = {evals!r}", f"optimizer.schedule = {flat!r}",
                      "optimizer.lr = 0.3", "best.metric = 'loss/nll'", "best.mode = 'min'")


def rows(workdir):
  return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def values(workdir):
  return {row["step"]: row["loss/nll"] for row in rows(workdir) if "loss/nll" in row}


def test_killed_and_resumed_it_keeps_the_same(tmp_path, config):
  straight, killed = tmp_path / "straight", tmp_path / "killed"
  done = commands.run(*commands.train(straight, config=config))
  assert done.returncode == 0, done.stderr[-3000:]
  nll = values(straight)
  best = min((step for step in nll if step), key=nll.get)  # what it starts from is no candidate
  assert sorted(nll) == list(range(0, STEPS + 1, 2)) and steps(straight / "best/checkpoints") == [
      best]
  assert f"best loss/nll {nll[best]:.4f} at step {best}: {straight}@best" in done.stdout

  status, _ = end_at(killed, config, random.randint(10, STEPS + 4), signal.SIGKILL)  # rows
  assert status == -signal.SIGKILL
  done = commands.run(*commands.train(killed, config=config))
  assert done.returncode == 0, done.stderr[-3000:]
  assert values(killed) == nll and steps(killed / "best/checkpoints") == [best]
  opened = [big_vlm.from_preset(f"{w}@best") for w in (straight, killed)]
  assert opened[0].source == f"{straight}/best/checkpoints/{best}"
  jax.tree.map(np.testing.assert_array_equal, *(vlm.params for vlm in opened))
  if best != STEPS:
    newest = params(straight)
    assert any((np.asarray(x) != newest[n]).any() for n, x in zip(
        newest, jax.tree.leaves(opened[0].params)))


def test_it_stops_where_nothing_gets_better(tmp_path, config):
  """The loss falls, and the greatest is wanted: the first evaluation is the best one."""
  flags = ["--config.best.mode=max", "--config.best.patience=2", "--config.optimizer.lr=0.001"]
  done = commands.run(*commands.train(tmp_path, *flags, config=config))
  assert done.returncode == 0, done.stderr[-3000:]
  assert "stopped early: loss/nll was not better than" in done.stdout and "of step 2" in done.stdout
  assert "trained to step 6:" in done.stdout and sorted(values(tmp_path)) == [0, 2, 4, 6]
  assert steps(tmp_path / "checkpoints")[-1] == 6 and steps(tmp_path / "best/checkpoints") == [2]
  before = rows(tmp_path)
  again = commands.run(*commands.train(tmp_path, *flags, config=config))
  assert again.returncode == 0 and "trained to step 6:" in again.stdout, again.stderr[-3000:]
  assert rows(tmp_path) == before


@pytest.mark.parametrize("metric, complaint", [
    ("loss/nl", "no eval of this config gives 'loss/nl'. Did you mean 'loss/nll'? There are "
                "loss/nll, loss/nll_per_token, loss/perplexity."),
    ("val/acc", "no eval of this config gives 'val/acc'")])
def test_a_metric_that_no_eval_gives_is_refused_before_the_first_step(tmp_path, config, metric,
                                                                      complaint, monkeypatch):
  assert complaint in commands.error_of(monkeypatch, *commands.train(
      tmp_path, f"--config.best.metric={metric}", config=config))
  assert not (tmp_path / "metrics.jsonl").exists()


def test_a_work_folder_without_one(tmp_path):
  (tmp_path / "W").mkdir()
  with pytest.raises(FileNotFoundError, match="W has no best checkpoint: its training had no conf"):
    big_vlm.from_preset(f"{tmp_path}/W@best")
