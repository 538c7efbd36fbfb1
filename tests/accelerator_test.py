"""The measurements for a GPU or TPU, tried on a CPU at small size."""
import json

import pytest

from benchmarks import accelerator
from benchmarks.libraries import SIZES
from tests import commands


@pytest.fixture
def little(monkeypatch):
  monkeypatch.setattr(accelerator, "LENGTHS", {"tower": (16,), "decoder": (64, 80)})
  monkeypatch.setattr(accelerator, "CHECKED", 64)
  monkeypatch.setattr(accelerator, "WEIGHTS", ("int8",))


def test_what_is_measured(little):
  tiny = SIZES["tiny"]
  rows = list(accelerator.right(tiny))
  assert len(rows) == 8 and all(row["ok"] for row in rows), rows
  *times, tower, _, _, last = accelerator.attention_times(tiny)
  assert len(times) == 6 and all(row["ms"] > 0 for row in times), times
  assert tower["from"] in (None, 16) and last["kernel"] == "einsum"
  row, = accelerator.decoding(tiny)
  assert row["prefill_ms"] > 0 and row["floor_ms"] is None  # of a CPU no bandwidth is published


def test_a_kernel_that_is_refused_is_a_row():
  def refuse():
    raise ValueError("head_dim 256\nis too large")
  assert accelerator.attempt(refuse) == {"failed": "head_dim 256 is too large"}


def test_it_goes_on_where_it_stopped(tmp_path):
  run = ["benchmarks.accelerator", "--size", "tiny", "--sections", "train", "--out", tmp_path]
  done = commands.run(*run)
  assert done.returncode == 0, done.stderr[-2000:]
  result = json.loads((tmp_path / "accelerator-cpu.json").read_text())
  row = result["sections"]["train"]["rows"][0]
  assert row["library"] == "big_vlm" and row["tokens_per_s"] > 0
  assert "| big_vlm | 8 |" in (tmp_path / "accelerator-cpu.md").read_text()
  assert "train: done before" in commands.run(*run).stdout
