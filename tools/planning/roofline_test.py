import pathlib

import jax
import jax.numpy as jnp
import pytest

from big_vlm.planning import devices
from tools.planning import program, roofline

TESTDATA = pathlib.Path(__file__).with_name("testdata")
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


def test_calls_of_cublas_and_cudnn_in_a_program_of_a_gpu():
  """Three matmuls of [64, 256] by a [256, 256] that is copied out of a stack first, and attention
  [2, 128, 4, 64] forward, then forward and backward, compiled for an H100."""
  text = (TESTDATA / "gemm_and_attention_h100.hlo").read_text()
  found = {cost.name: (cost.category, flops, moved)
           for cost, flops, moved in roofline.work(text, program.costs(text))}
  weight, rows, pairs = 2 * 256 * 256, 2 * 64 * 256, 2 * 4 * 128 * 128
  assert found["custom-call.1"] == (
      program.MATMUL, 3 * 2 * 64 * 256 * 256, 3 * (weight + 2 * rows))
  assert found["loop_dynamic_slice_fusion"][2] == 3 * (2 * weight + 4)  # read, written, its index
  forward, again, backward = (found[f"dot_product_attention_{name}"][:2]
                              for name in ("fwd.9", "fwd.13", "bwd.8"))
  assert forward == again == (program.KERNEL, 4 * pairs * 64)
  assert backward == (program.KERNEL, 2.5 * 4 * pairs * 64)
  assert roofline.copies(text) >= {"loop_dynamic_slice_fusion", "copy.5"}
  assert not roofline.copies(text) & {"custom-call.1", "loop_add_fusion.1"}


def test_float32_is_multiplied_at_a_part_of_the_peak():
  x = jax.ShapeDtypeStruct((256, 256), jnp.float32)
  text = jax.jit(jnp.dot).lower(x, x).compile().as_text()
  flops = lambda tf32: sum(n for _, n, _ in roofline.work(text, program.costs(text), tf32))
  assert flops(1) == 2 * 256**3 and flops(0.5) == 4 * 256**3


@pytest.mark.parametrize("name, layers", [("matmul_of_layer", 3), ("head", 1)])
def test_kernels_of_a_decode_step_count_the_layer_that_they_read(name, layers):
  shape = "s8[3,1,256,64]" if layers > 1 else "s8[192,256]"
  text = f"""HloModule m
ENTRY %main (x: bf16[16,256], w: {shape}) -> f32[16,64] {{
  %x = bf16[16,256]{{1,0}} parameter(0)
  %w = {shape}{{1,0}} parameter(1)
  ROOT %call = f32[16,64]{{1,0}} custom-call(%x, %w), custom_call_target="__gpu$xla.gpu.triton", \
metadata={{op_name="jit(f)/{name}/pallas_call"}}
}}
"""
  (cost, flops, moved), = roofline.work(text, program.costs(text))
  weights = 3 * 256 * 64 / layers
  assert (cost.category, flops) == (program.MATMUL, 2 * 16 * weights)
  assert moved == 2 * 16 * 256 + weights + 4 * 16 * 64
