import pytest

from big_vlm.training import defaults
from configs import common


@pytest.mark.parametrize("parameters,rate,adapters,steps", [
    (1e5, 1e-3, 3e-3, 300), (1.3e6, 1e-3, 3e-3, 300), (2.7e8, 4.1e-5, 4.6e-4, 100),
    (2.9e9, 1e-5, 2e-4, 64), (2.7e10, 1e-5, 2e-4, 64)])
def test_a_larger_model_gets_a_lower_rate_and_fewer_steps(parameters, rate, adapters, steps):
  assert defaults.learning_rate(parameters).value == pytest.approx(rate, rel=0.03)
  assert defaults.learning_rate(parameters, True).value == pytest.approx(adapters, rel=0.03)
  assert defaults.duration(parameters, 8)["total_steps"].value == steps


@pytest.mark.parametrize("examples,size,steps", [
    (1, 8, 300), (64, 8, 300), (200, 16, 300), (300, 32, 300), (959, 32, 300), (960, 32, None),
    (10**6, 32, None), (None, 32, None)])
def test_few_examples_have_small_batches_and_are_seen_more_often(examples, size, steps):
  """10 epochs, but for so few examples that they would be too few steps."""
  assert defaults.batch_size(examples).value == size
  (name, chosen), = defaults.duration(1.3e6, examples).items()
  assert (name, chosen.value) == (("total_steps", steps) if steps else ("total_epochs", 10))


def test_the_table_has_what_nobody_has_changed():
  c = common.train()
  assert defaults.table(c) == ""
  defaults.set_fields(c, {"text_len": 40, "optimizer.lr": defaults.learning_rate(1.3e6),
                          **defaults.duration(1.3e6, 300)})
  assert (c.text_len, c.optimizer.lr, c.total_steps) == (40, 1e-3, 300)
  assert defaults.table(c).splitlines() == [
      "default              value  reason",
      "config.optimizer.lr  0.001  for all of 1.3 M parameters; PaliGemma 3B takes 1e-05",
      "config.total_steps     300  1.3 M parameters need them, and 10 epochs have 94 steps"]
  c.optimizer.lr = 2e-3  # as --config.optimizer.lr=2e-3 does
  assert "optimizer.lr" not in defaults.table(c) and "total_steps" in defaults.table(c)


def test_data_that_cannot_be_read_have_no_number():
  assert defaults.examples([dict(data=dict(name="jsonl", path="nowhere.jsonl"))]) is None
