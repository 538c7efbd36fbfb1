import json
import pathlib

import pytest
from PIL import Image

from big_vlm import reporting


def test_a_resumed_run_leaves_the_file_of_an_uninterrupted_one(tmp_path):
  path = tmp_path / "metrics.jsonl"
  with reporting.MetricWriter(tmp_path, start_step=0) as writer:
    for step in (1, 10, 20, 30):
      writer.write(step, {"loss": 1 / step})
  whole = path.read_text()
  path.write_text(whole + '{"step": 40, "lo')  # killed while writing
  assert [r["step"] for r in reporting.read_metrics(path)] == [1, 10, 20, 30]

  with reporting.MetricWriter(tmp_path, start_step=10) as writer:  # the newest checkpoint
    assert [r["step"] for r in reporting.read_metrics(path)] == [1, 10]
    writer.write(20, {"loss": 1 / 20})
    writer.write(30, {"loss": 1 / 30})
  assert path.read_text() == whole
  assert [p.name for p in tmp_path.glob("*.tmp")] == []


def test_rows_are_there_as_soon_as_they_are_written(tmp_path):
  with reporting.MetricWriter(tmp_path, 0) as writer:
    writer.write(1, {"loss": 2, "val/acc": 0.5})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {
        "step": 1, "loss": 2.0, "val/acc": 0.5}
  assert list(pathlib.Path(tmp_path, "tensorboard").glob("events.*"))


@pytest.mark.parametrize("metrics", [
    {"loss": 2.0}, {"loss": 2.0, "lr": 1e-3, "answer/acc": 0.5, "img_per_s": 9}, {"val/x": 1}])
def test_the_plot_is_a_png_with_a_panel_for_each_kind_of_metric(tmp_path, metrics):
  with reporting.MetricWriter(tmp_path, 0) as writer:
    for step in (1, 2, 3):
      writer.write(step, metrics)
  with Image.open(reporting.plot(tmp_path)) as image:
    panels = len([k for k in metrics if k != "img_per_s"])
    assert image.format == "PNG" and round(image.width / image.height * 3.4 / 4.5) == panels


@pytest.mark.parametrize("seconds, text", [
    (0, "0:00"), (9.9, "0:09"), (61, "1:01"), (3599, "59:59"), (3600, "1:00:00"),
    (100_000, "27:46:40")])
def test_clock(seconds, text):
  assert reporting.clock(seconds) == text


def test_the_progress_line(capsys):
  progress = reporting.Progress(start_step=0, total_steps=40, batch_size=8)
  assert progress.wait(iter(["batch"])) == "batch"
  with progress.paused():
    pass
  metrics = progress.line(10, loss=1.5)
  assert metrics["img_per_s"] > 0 and 0 < metrics["data_wait"] < 1 and metrics["memory_gib"] > 0
  line = capsys.readouterr().out
  assert line.startswith("step 10/40 (25%)  loss 1.5000  ") and "ETA 0:0" in line


def test_progress_counts_tokens_and_utilisation(capsys):
  progress = reporting.Progress(0, 10, batch_size=4)
  progress.work(tokens=10, flops=1e6, peak=1e12)
  row = progress.line(5, loss=0.5)
  assert row["tokens_per_s"] == 10 * row["img_per_s"]
  assert row["mfu"] == pytest.approx(row["img_per_s"] * 1e-6)
  said = capsys.readouterr().out
  assert "step 5/10 (50%)  loss 0.5000" in said and "tokens/s  MFU " in said and "ETA 0:00" in said


def test_a_profile_of_two_steps(tmp_path, capsys):
  trace = reporting.Trace(tmp_path, start_step=7, steps="2")
  for step in range(8, 13):
    with trace.step(step) as done:
      assert done({"loss": 1}) == {"loss": 1}
    assert (step == 11) == ("profile of steps 10 to 11" in capsys.readouterr().out)
  assert list(tmp_path.glob("profile/**/*.xplane.pb"))
