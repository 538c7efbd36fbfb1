import pytest

from big_vlm import reporting


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
  metrics = progress.line(10, 1.5)
  assert metrics["examples_per_s"] > 0 and metrics["memory_gib"] > 0
  assert 0 < metrics["data_wait"] < 1
  line = capsys.readouterr().out
  assert line.startswith("step 10/40 (25%)  loss 1.5000  ") and "ETA 0:0" in line


def test_progress_counts_tokens_and_utilisation(capsys):
  progress = reporting.Progress(0, 10, batch_size=4)
  for tokens in (40, 40, 40, 60, 20):
    progress.work(tokens, real=tokens // 4 * 3, flops=4e6, peak=1e12)
  row = progress.line(5, 0.5)
  assert row["tokens_per_s"] == pytest.approx(10 * row["examples_per_s"])
  assert row["real_tokens"] == 0.75
  assert row["mfu"] == pytest.approx(row["examples_per_s"] * 1e-6)
  said = capsys.readouterr().out
  assert "step 5/10 (50%)  loss 0.5000" in said and "tokens/s (75% real)  MFU " in said
  assert "ETA 0:00" in said


@pytest.mark.parametrize("losses, told", [
    ((8., 7.99, 8.01, 8.), 1), ((8., 7., 7., 7.), 0), ((8., 8.), 0)])
def test_a_loss_that_stands_still_is_told_once(losses, told, capsys):
  progress = reporting.Progress(0, 100, batch_size=4)
  for step, loss in zip((1, 3, 6, 9), losses):
    progress.line(step, loss)
  assert capsys.readouterr().out.count("warning: the loss has not fallen") == told


def test_a_counter_without_a_terminal_says_the_end(capsys):
  note = reporting.counter("answers.npz", "B")
  for done in (1 << 20, 2 << 20):
    note(done, 2 << 20)
  said = capsys.readouterr().out
  assert said.startswith("answers.npz: 2.00M/2.00MB, ") and said.count("\n") == 1


def test_the_rate_and_the_time_left_are_of_what_a_run_does_itself(capsys, monkeypatch):
  now = [0.]
  monkeypatch.setattr(reporting.time, "perf_counter", lambda: now[0])
  note = reporting.counter("answers", "requests", begin=50)
  for now[0], done in ((40., 70), (120., 100)):
    note(done, 100)
  assert capsys.readouterr().out == (
      "answers: 70.0/100 requests, 2.00s/ requests, 00:40, ETA 01:00\n"
      "answers: 100/100 requests, 2.40s/ requests, 02:00\n")
