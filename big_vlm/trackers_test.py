import importlib.util
import json
import sys
import types

import pytest

from big_vlm import trackers


@pytest.mark.parametrize("names, error", [
    (("wandbb",), "tracker 'wandbb'.*Did you mean 'wandb'"), ("wandb", "a tuple of names"),
    (("mlflow",), "not installed: pip install mlflow-skinny")])
def test_what_is_refused_before_a_training(monkeypatch, names, error):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match=error):
    trackers.check(names)


def test_without_trackers_nothing_is_written(tmp_path):
  trackers.check(())
  assert trackers.start((), tmp_path, {}) == [] and not list(tmp_path.iterdir())


class Failing:
  def __init__(self, workdir, run_id):
    self.id = run_id or "new"

  def describe(self, config):
    raise ConnectionError("no route to host")


def test_one_that_does_not_start_is_named_and_its_run_is_known(tmp_path, monkeypatch):
  monkeypatch.setitem(trackers.TRACKERS, "wandb", Failing)
  with pytest.raises(ValueError, match="'wandb' does not start: ConnectionError: no route to host"):
    trackers.start(("wandb",), tmp_path, {})
  assert json.loads((tmp_path / trackers.FILE).read_text()) == {"wandb": "new"}


class Run:
  """What the tests use of a run of wandb."""
  id = "a"

  def __init__(self, last):
    self.summary, self.rows = {"step": last} if last else {}, []

  def define_metric(self, name, step_metric):
    assert (name, step_metric) == ("*", "step")

  def log(self, row):
    self.rows.append(row)


@pytest.mark.parametrize("last, sent", [(None, [1, 2, 2, 3]), (2, [2, 2, 3])])
def test_wandb_gets_an_evaluation_that_a_kill_cut_off(tmp_path, monkeypatch, last, sent):
  run = Run(last)
  monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **kw: run))
  tracker = trackers.WandB(tmp_path, "a")
  for step, name in (1, "loss"), (2, "loss"), (2, "val/acc"), (3, "loss"):
    tracker.write(step, {name: 1.})
  assert [row["step"] for row in run.rows] == sent and {"step": 2, "val/acc": 1.} in run.rows


def test_names_of_fields():
  assert trackers._flat({"a": {"b": 1, "c": {}}, "d": [2]}) == [("a.b", 1), ("d", [2])]
