"""Costs that a program's text states; testdata/ holds excerpts of compilers' output."""
import pathlib

import jax
import jax.numpy as jnp
import pytest

from tools.planning import program

TESTDATA = pathlib.Path(__file__).with_name("testdata")
TEXT = (TESTDATA / "kinds.hlo").read_text()  # one instruction of each kind


def costs(**kw):
  return {c.name: c for c in program.costs(TEXT, **kw)}


def by_category(found):
  return {category: program.total(c for c in found if c.category == category)
          for category in program.CATEGORIES}


def test_loops_count_their_iterations_and_conditionals_their_most_expensive_branch():
  found = costs()
  assert found["product"].runs == 10 and found["product"].cycles == 10 * 100  # from 2 to 12
  assert "negate.2" in found and "negate.1" not in found
  assert program.total(found.values()) == 10 * 100 + 7 + 50


def test_categories():
  found = costs(kernel_cycles=lambda cost: 30)
  assert found["kernel"].source == "jit(f)/attn/kernel"  # behind an attribute of several lines
  assert by_category(found.values()) == {
      "matmul": 1000, "attention kernels": 300, "other": 50, "collectives": 7}


def test_a_kernel_is_priced_by_its_operands():
  seen = []
  costs(kernel_cycles=lambda cost: seen.append(cost.operands) or 0)
  assert seen == [("bf16[8,128]{1,0}",)]


def test_collectives_by_kind_with_the_bytes_of_the_whole_array():
  assert program.collectives(costs().values()) == {
      "all-gather": (10, 10 * 128 * 128 * 2), "reduce-scatter": (1, 256 * 128 * 4),
      "all-reduce": (1, 8 * 4)}  # its done does not count again


def test_an_unknown_trip_count_is_an_error_unless_it_is_given():
  text = TEXT.replace("s32[] constant(12)", "s32[] get-tuple-element(%c.2), index=0")
  with pytest.raises(ValueError, match=r"the loop while.1 \(jit\(f\)/while\) depends on its data"):
    program.costs(text)
  assert program.total(program.costs(text, {"f.*/while$": 3})) == 3 * 100 + 7 + 50


@pytest.mark.parametrize("shape, nbytes", [
    ("bf16[8,128]{1,0:T(8,128)(2,1)}", 2048), ("(f32[4]{0}, s32[]{:T(128)})", 20), ("pred[]", 1),
    ("u32[]{:S(2)}", 4), ("f8e4m3fn[3,5]", 15), ("s4[10]", 5), ("f32[0,7]", 0), ("token[]", 0)])
def test_bytes_of_a_shape(shape, nbytes):
  assert program.size(shape) == nbytes


def test_a_text_that_is_not_a_program():
  with pytest.raises(ValueError, match="has no ENTRY computation"):
    program.costs("nonsense")


def test_a_program_for_this_machine():
  def f(x, ws):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, ws)[0]
  compiled = jax.jit(f).lower(jnp.ones((4, 64)), jnp.ones((7, 64, 64))).compile()
  found = program.costs(compiled.as_text())
  assert 7 in {c.runs for c in found if c.category == program.MATMUL}
  used = program.memory(compiled)
  assert used["arguments"] == 4 * (4 * 64 + 7 * 64 * 64) and used["outputs"] == 4 * 4 * 64
  assert used["total"] >= used["arguments"] + used["outputs"]


def test_a_program_from_the_tpu_compiler():
  """10 matmuls of 4096 x 4096 in bfloat16, compiled for a v5e: the compiler's cycles say that they
  run at 97 % of its 197 TFLOP/s."""
  found = program.costs((TESTDATA / "matmuls_v5e.hlo").read_text())
  seconds = by_category(found)[program.MATMUL] / 1.5e9
  assert 10 * 2 * 4096**3 / seconds / 197e12 == pytest.approx(0.967, abs=0.001)
