"""What is kept, dropped and found again by a run that resumes, with parameters of one number."""
import json

import jax.numpy as jnp
import ml_collections
import pytest

from big_vlm.checkpoints.steps import Checkpoints, steps
from big_vlm.training.best import Best, Settings


class Training:
  """A training of which each step is one evaluation; main checkpoints at the steps of `saves`."""

  def __init__(self, workdir, values, saves=(2, 4, 6), mode="max", patience=0):
    self.workdir, self.values, self.saves = workdir, values, saves
    self.settings = Settings("val/acc", mode, patience)

  def run(self, until=None):
    """From the newest checkpoint up to `until`, where it is killed; (the last step, Best)."""
    first = max(steps(self.workdir / "checkpoints"), default=0)
    path = self.workdir / "metrics.jsonl"
    rows = [r for r in map(json.loads, path.read_text().splitlines()) if r["step"] <= first] if (
        path.exists()) else []
    step = first
    with Checkpoints(self.workdir) as main, Best(
        self.workdir, self.settings, main, first) as best:
      if first:
        best.resume(first, params(first))
      for step in range(first + 1, len(self.values) + 1):
        if best.exhausted:
          return step - 1, best
        if step in self.saves:
          best.settle()
          main.save(step, {"params": params(step)})
        row = {"val/acc": self.values[step - 1]}
        rows.append({"step": step, **row})
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        if step == until:
          break  # before the evaluation is taken in
        best.saw(step, row, params(step))
      if step != until:
        self.said = best.finish()
    return step, best

  def kept(self):
    return steps(self.workdir / "best" / "checkpoints")


def params(step):
  return {"w": jnp.full(3, float(step))}


@pytest.fixture
def start(tmp_path):
  (tmp_path / "W").mkdir()
  return lambda *args, **kw: Training(tmp_path / "W", *args, **kw)


def test_the_best_of_all_stays_and_of_equal_ones_the_first(start):
  training = start([.1, .5, .3, .5, .2])
  training.run()
  assert training.kept() == [2]
  assert training.said == [f"best val/acc 0.5000 at step 2: {training.workdir}@best"]
  with Checkpoints(training.workdir / "best") as best:
    assert best.restore(2, {"params": params(0)})["params"]["w"].tolist() == [2, 2, 2]


def test_the_least_of_a_loss(start):
  training = start([3., 1., float("nan"), 2.], mode="min")
  training.run()
  assert training.kept() == [2]


@pytest.mark.parametrize("until", range(1, 8))
def test_killed_anywhere_it_keeps_what_an_undisturbed_run_keeps(start, until):
  training = start([.1, .5, .2, .3, .9, .4, .6])
  training.run(until)
  training.run()
  assert training.kept() == [5]


def test_what_was_kept_beyond_the_step_of_the_checkpoint_is_forgotten(start):
  """Resumed on other devices, step 3 may be evaluated a little worse."""
  training = start([.1, .5, .9, .3], saves=(2,))
  training.run(until=4)
  assert 3 in training.kept() and 2 in training.kept()
  training.values[2] = .4
  training.run()
  assert training.kept() == [2]


@pytest.mark.parametrize("until", (None, 2, 3, 4, 5))
def test_it_stops_after_so_many_evaluations_without_a_better_one(start, until):
  training = start([.1, .5, .3, .5, .2, .9], patience=3)
  if until:
    training.run(until)
  step, best = training.run()
  assert step == 5 and best.exhausted and best.step == 2
  assert best.finish(early=True)[0] == (
      "stopped early: val/acc was not better than 0.5000, of step 2, in 3 evaluations")


def test_a_metric_that_is_asked_for_later(start, capsys):
  training = start([.1, .5, .3], saves=(1, 2, 3))
  (training.workdir / "metrics.jsonl").write_text('{"step": 1, "val/acc": 0.7}\n')
  with Checkpoints(training.workdir) as main:
    main.save(2, {"params": params(2)})
  training.run()
  assert training.kept() == []
  assert "step 1 has the best val/acc so far, 0.7000, and was not kept" in capsys.readouterr().out


def test_a_metric_that_no_evaluation_gave_is_said(start):
  training = start([.1])
  training.settings = Settings("val/f1")
  training.run()
  assert training.said == ["no evaluation gave val/f1: no checkpoint is kept as the best"]


def test_without_a_metric_nothing_is_kept(tmp_path):
  with Best(tmp_path, Settings(), checkpoints=None) as best:
    best.saw(1, {"val/acc": 1.}, params(1))
    assert not best.exhausted and best.finish() == []
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fields, complaint", [
    (dict(metrik="a"), "metrik"), (dict(metric="a", mode="most"), "Unknown config.best.mode"),
    (dict(metric="a", patience=-1), "patience is -1, not a whole number"),
    (dict(patience=2), "config.best.metric does not say which")])
def test_fields_that_make_no_sense(fields, complaint):
  with pytest.raises(ValueError, match=complaint):
    Settings.of(ml_collections.ConfigDict({"best": fields}))
  assert Settings.of(ml_collections.ConfigDict({"best": dict(metric="a")})) == ("a", "max", 0)
