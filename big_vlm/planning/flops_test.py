import types

import pytest

from big_vlm.families import paligemma
from big_vlm.planning import flops
from big_vlm.training import optim


@pytest.mark.parametrize("trains, img, llm", [
    (("img/embedding/kernel", "llm/final_norm/scale"), 6, 6),
    (("llm/layers/mlp/linear",), 2, 6),  # freeze=vit
    (("img/embedding/kernel",), 6, 4),  # freeze=llm: the gradient passes through it
    (("llm/layers/mlp/linear/lora_a", "llm/layers/mlp/linear/lora_b"), 2, 4),
    (("img/head/kernel/lora_a", "llm/layers/mlp/linear/lora_b"), 4, 4)])
def test_what_does_not_train_takes_fewer(trains, img, llm):
  each = optim.weight_flops(types.SimpleNamespace(trainable=frozenset(trains)))
  assert (each["img/"], each["llm/"]) == (img, llm)


def test_attention_has_both_directions_wherever_a_gradient_passes():
  text = paligemma.config(llm=dict(variant="tiny"))
  six, four, two = (flops.per_example(text, 8, per_weight={"llm/": n}) for n in (6, 4, 2))
  weights = (six - four) / 2
  assert six == flops.per_example(text, 8) and two == 2 * weights + (six - 6 * weights) / 3


def test_a_head_is_as_wide_as_the_table():
  wide, narrow = (paligemma.config(llm=dict(variant=name)) for name in ("opt_125m", "opt_350m"))
  head = lambda c: (flops.per_example(c, 2) - flops.of_prefill(c, 2) * 3) / 6
  assert head(wide) == 50272 * 768 and head(narrow) == 50272 * 512
