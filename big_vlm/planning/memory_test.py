import jax
import numpy as np
import pytest

from big_vlm.planning import memory
from big_vlm.training import losses, setup
from configs import common


@pytest.fixture
def made():
  config = common.train(total_steps=1)
  config.model.update(img=dict(variant="tiny"), llm=dict(variant="tiny"))
  config.input.batch_size = 8
  s = setup.make(config, jax.devices()[:4])
  batch = {key: jax.ShapeDtypeStruct((8, 10), np.int32) for key in ("text", "mask_ar", "mask_loss")}
  return s, batch | {"image": jax.ShapeDtypeStruct((8, 16, 16, 3), np.uint8)}


def test_static_memory_follows_from_shapes(made):
  s, batch = made
  with jax.set_mesh(s.mesh):
    static = memory.static(s, batch)
    chunk = losses.chunk_size(8, 9)
  size = sum(x.size * 4 for x in jax.tree.leaves(s.shapes.params))  # small leaves are replicated
  assert static["parameters"] == static["gradients"] == size
  assert static["optimizer state"] == 2 * size + 3 * 4  # Adam's moments; three counters
  assert static["logits of a chunk"] == 2 * chunk * 128 * 4  # 2 of 8 rows a device, 128 tokens
  assert static["batch"] == 2 * (3 * 10 * 4 + 16 * 16 * 3)


def test_the_table_of_a_step_that_ran_out_of_memory(made):
  s, batch = made
  error = RuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.5G of "
                       "15.75G hbm.")
  with jax.set_mesh(s.mesh):
    text = memory.explain(error, s, batch)
  rows = [line.split() for line in text.splitlines()]
  assert ["total", "20.50", "GiB"] in rows and ["gradients", "0.196", "MiB"] in rows
  assert "grad_accum_steps=2" in text and "python -m tools.plan" in text
  assert memory.explain(RuntimeError("INVALID_ARGUMENT"), s, batch) is None


@pytest.mark.parametrize("n, text", [
    (3 * 2**30, "3.00 GiB"), (2**29, "0.50 GiB"), (20 * 2**20, "20 MiB"), (1024, "0.000977 MiB")])
def test_format_bytes(n, text):
  assert memory.format_bytes(n) == text


def test_the_rest_of_a_program_is_activations():
  text = memory.table({"parameters": 2**30, "batch": 2**29}, total=4 * 2**30, capacity=16 * 2**30)
  assert [line.split()[-2:] for line in text.splitlines()] == [
      ["1.00", "GiB"], ["0.50", "GiB"], ["2.50", "GiB"], ["4.00", "GiB"], ["16.00", "GiB"]]
