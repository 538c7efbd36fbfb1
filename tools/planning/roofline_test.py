import jax
import jax.numpy as jnp
import pytest

from big_vlm.planning import devices
from tools.planning import program, roofline

DEVICE = devices.Device("test", flops=1e12, memory=1e9, bandwidth=1e11)


def seconds(f, *args):
  text = jax.jit(f).lower(*args).compile().as_text()
  return sum(roofline.seconds(text, program.costs(text), DEVICE).values())


def test_matmuls_take_their_flops_times_the_iterations_of_their_loop():
  f = lambda x, ws: jax.lax.scan(lambda x, w: (x @ w, None), x, ws)[0]
  shape = lambda *n: jax.ShapeDtypeStruct(n, jnp.float32)
  found = seconds(f, shape(2**13, 2**12), shape(5, 2**12, 2**12))
  product = 2 * 2**13 * 2**24 / (roofline.MATMUL_RATE * 1e12)
  assert 5 * product <= found < 8 * product  # and copies


def test_other_instructions_take_their_memory_traffic():
  found = seconds(lambda x: x + 1, jax.ShapeDtypeStruct((2**20,), jnp.float32))
  assert found == pytest.approx(2 * 4 * 2**20 / (roofline.MEMORY_RATE * 1e11), rel=0.01)


def test_an_array_that_a_loop_slices_counts_by_its_slices():
  f = lambda x, ws: jax.lax.scan(lambda x, w: (x + w, None), x, ws)[0]
  found = seconds(f, *(jax.ShapeDtypeStruct(n, jnp.float32) for n in ((2**20,), (50, 2**20))))
  whole = 50 * 50 * 4 * 2**20 / (roofline.MEMORY_RATE * 1e11)  # all of ws, 50 times
  assert found < whole / 5
