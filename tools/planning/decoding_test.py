import pytest

from big_vlm.families import paligemma
from big_vlm.planning import flops
from tools.planning import child, program

TINY = dict(img=dict(variant="tiny", image_size=32), llm=dict(variant="tiny"))


@pytest.mark.parametrize("opcode, shape, moved", [
    ("copy-start", "(bf16[8,128]{1,0:S(1)}, bf16[8,128]{1,0}, u32[]{:S(2)})", 2048),
    ("slice-start", "((u8[8,224]{1,0}), u8[2,224]{1,0:S(1)}, s32[]{:S(2)})", 448),
    ("copy", "bf16[8,128]{1,0}", 0)])
def test_bytes_that_are_copied_beside_the_arithmetic(opcode, shape, moved):
  assert program.copied_beside(program.Cost("c", opcode, "", "", shape, 1, 0, 0)) == moved


def test_a_prefill_is_a_third_of_a_training_step_with_one_token_of_logits():
  config = paligemma.config(**TINY)
  one, four = flops.of_prefill(config, 1), flops.of_prefill(config, 4)
  assert one == flops.per_example(config, 1) / 3
  assert flops.per_example(config, 4) / 3 - four == 3 * 2 * 128 * 32  # vocabulary, width


@pytest.mark.skipif(not child.has_tpu_compiler(),
                    reason="the TPU compiler is not installed: requirements-tpu-compiler.txt")
def test_decoding_on_one_chip():
  found = child.run("decoding", model=TINY, topology="v5e:1x1", batch=2, new=4)
  step, prefill = found["round"], found["prefill"]
  assert found["chips"] == 1 and found["compiler"].startswith("libtpu ")
  assert 0 < step["floor_seconds"] < step["seconds"]
  assert step["tokens_per_second"] == pytest.approx(2 / step["seconds"])
  assert 0 < prefill["mfu"] < 1 and prefill["memory"]["total"] > 0
  assert found["fits"] and found["total"] < 2**30
  assert any("llm/while" in source for _, _, source, _ in step["largest"])
