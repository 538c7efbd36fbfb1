"""What the metrics of a run say about its data."""
from big_vlm.data import counters


class Half:
  """Stands for a mixture: every second element is of each of two sources."""

  def counts(self, index):
    return {"a": (index + 1) // 2, "b": index // 2}


def test_examples_of_each_source_since_the_start():
  read = counters.Counters(Half(), batch_size=5, on_error="raise")
  assert read.row(0) == {"examples/a": 0, "examples/b": 0}
  assert read.row(3) == {"examples/a": 8, "examples/b": 7}


def test_skipped_examples_since_the_last_row(capsys):
  read = counters.Counters(Half(), batch_size=4, on_error="skip")
  read.note({"_id": ["x:1"]})
  assert read.row(1)["skipped"] == 0 and capsys.readouterr().out == ""
  read.note({"_skipped": [None, ["x:1", "x:2"], None]})
  read.note({"_skipped": [[f"y:{i}"] for i in range(6)]})
  assert read.row(3)["skipped"] == 8
  assert capsys.readouterr().out == (
      "skipped 8 examples: x:1, x:2, y:0, y:1, y:2, and 3 more\n")
  assert read.row(4)["skipped"] == 0
