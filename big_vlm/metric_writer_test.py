import json
import pathlib

from big_vlm import metric_writer


def test_a_resumed_run_leaves_the_file_of_an_uninterrupted_one(tmp_path):
  path = tmp_path / "metrics.jsonl"
  with metric_writer.MetricWriter(tmp_path, start_step=0) as writer:
    for step in (1, 10, 20, 30):
      writer.write(step, {"loss": 1 / step})
  whole = path.read_text()
  path.write_text(whole + '{"step": 40, "lo')  # killed while writing
  assert [r["step"] for r in metric_writer.read_metrics(path)] == [1, 10, 20, 30]

  with metric_writer.MetricWriter(tmp_path, start_step=10) as writer:  # the newest checkpoint
    assert [r["step"] for r in metric_writer.read_metrics(path)] == [1, 10]
    writer.write(20, {"loss": 1 / 20})
    writer.write(30, {"loss": 1 / 30})
  assert path.read_text() == whole
  assert [p.name for p in tmp_path.glob("*.tmp")] == []


def test_rows_are_there_as_soon_as_they_are_written(tmp_path):
  with metric_writer.MetricWriter(tmp_path, 0) as writer:
    writer.write(1, {"loss": 2, "val/acc": 0.5})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {
        "step": 1, "loss": 2.0, "val/acc": 0.5}
  assert list(pathlib.Path(tmp_path, "tensorboard").glob("events.*"))


def test_rows_of_earlier_versions_have_the_names_of_today(tmp_path):
  (tmp_path / "metrics.jsonl").write_text('{"step": 10, "loss": 0.5, "img_per_s": 8.0}\n')
  with metric_writer.MetricWriter(tmp_path, 10) as writer:
    assert writer.has("examples_per_s") and not writer.has("img_per_s")
  row, = metric_writer.read_metrics(tmp_path / "metrics.jsonl")
  assert row == {"step": 10, "loss": 0.5, "examples_per_s": 8.0}


class Tracker:
  """Fails while it is away."""
  away, got, closed = False, 0, False

  def write(self, step, metrics):
    if self.away:
      raise ConnectionError("no route to host")
    self.got += 1

  def close(self, failed):
    self.closed = True


def test_a_tracker_that_fails_does_not_end_the_training(tmp_path, capsys):
  brief, gone = Tracker(), Tracker()
  with metric_writer.MetricWriter(tmp_path, 0, [brief, gone]) as writer:
    for step in range(9):
      brief.away, gone.away = step == 3, step > 0
      writer.write(step, {"loss": 1})
  assert (brief.got, brief.closed, gone.got, gone.closed) == (8, True, 1, False)
  said = capsys.readouterr().out.splitlines()
  assert len(said) == 1 + metric_writer.FAILURES and "ConnectionError: no route to host." in said[0]
  assert [line.endswith("no more metrics of this run.") for line in said].count(True) == 1
