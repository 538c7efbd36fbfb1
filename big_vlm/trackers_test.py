import importlib.util

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


def test_names_of_fields():
  assert trackers._flat({"a": {"b": 1, "c": {}}, "d": [2]}) == [("a.b", 1), ("d", [2])]
