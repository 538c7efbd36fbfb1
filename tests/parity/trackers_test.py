"""Weights & Biases and MLflow through their own libraries, without a network."""
import json

import pytest

pytest.importorskip("wandb", reason="`make parity` runs these tests in their own venv")
mlflow = pytest.importorskip("mlflow")

from big_vlm import metric_writer, trackers  # noqa: E402

CONFIG = {"optimizer": {"lr": 1e-3, "a:b": 1}, "seed": 0}


def run(workdir, name, start_step, rows):
  """A training that writes rows [(step, metrics)] and ends; returns the tracker."""
  tracker, = trackers.start((name,), workdir, CONFIG)
  with metric_writer.MetricWriter(workdir, start_step, [tracker]) as writer:
    for step, metrics in rows:
      writer.write(step, metrics)
  return tracker


def test_mlflow(tmp_path, monkeypatch):
  """A resumed training sends what is new to the same run."""
  monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
  monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
  first = run(tmp_path, "mlflow", 0, [(1, {"loss": 2.}), (2, {"loss": 1.}), (2, {"val/acc@1": .5})])
  again = run(tmp_path, "mlflow", 1, [(2, {"loss": 1.}), (2, {"val/acc@1": .5}), (3, {"loss": .5})])
  assert again.id == first.id
  client = mlflow.MlflowClient()
  rows = lambda name: [(row.step, row.value) for row in client.get_metric_history(first.id, name)]
  assert rows("loss") == [(1, 2.), (2, 1.), (3, .5)] and rows("val/acc_1") == [(2, .5)]
  found = client.get_run(first.id)
  assert found.data.params == {"optimizer.lr": "0.001", "optimizer.a_b": "1",
                               "seed": "0"}
  assert found.info.status == "FINISHED" and found.info.run_name == tmp_path.name


def test_wandb(tmp_path, monkeypatch):
  monkeypatch.setenv("WANDB_MODE", "offline")
  monkeypatch.setenv("WANDB_SILENT", "true")
  tracker = run(tmp_path, "wandb", 0, [(1, {"loss": 2.}), (2, {"loss": 1.}), (2, {"val/acc": .5})])
  assert json.loads((tmp_path / trackers.FILE).read_text()) == {"wandb": tracker.id}
  file, = tmp_path.glob(f"wandb/offline-run-*-{tracker.id}/run-{tracker.id}.wandb")
  assert all(name in file.read_bytes() for name in (b"loss", b"val/acc", b"optimizer"))
  again = run(tmp_path, "wandb", 2, [(3, {"loss": .5})])
  assert again.id == tracker.id
