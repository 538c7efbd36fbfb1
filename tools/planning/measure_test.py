import pytest

from big_vlm.families import paligemma
from big_vlm.training import losses
from tools.planning import measure, program

PEAK, CLOCK = 200e12, 1e9


@pytest.fixture
def config():
  return paligemma.config(dict(variant="tiny", image_size=32), dict(variant="tiny"))  # 16 patches


@pytest.mark.parametrize("name, source, operand, flops", [
    # 16 image tokens see the image; 4 text tokens see the image and the text before them.
    ("splash_mha_fwd.1", "jvp()/llm/layers/attn", "bf16[2,4,20,8]{3,2,1,0}",
     4 * 2 * 4 * (16 * 20 + 4 * 5 // 2) * 8),
    ("splash_mha_dkv.1", "transpose(jvp())/llm/layers/attn", "bf16[4,20,8]{2,1,0}",
     2.5 * 4 * 4 * (16 * 20 + 4 * 5 // 2) * 8),
    ("splash_mha_fwd.2", "jvp()/embed_image/img/Transformer", "f32[2,4,16,8]{3,2,1,0}",
     4 * 2 * 4 * 16 * 16 * 8),
    ("short_attention_backward.1", "transpose(jvp())/embed_image/img/Transformer",
     "bf16[2,32,16]{2,1,0}", 2.5 * 4 * 2 * 4 * 16 * 16 * 8)])  # 4 heads of 8
def test_kernels_cost_their_visible_pairs_at_half_of_the_peak(config, name, source, operand, flops):
  price = measure.kernel_cycles(config, text_len=4, images=1, peak=PEAK, clock=CLOCK)
  cost = program.Cost(name, "custom-call", program.KERNEL, source, "f32[1]", 1, 0, 4, (operand,))
  assert price(cost) == pytest.approx(flops / (PEAK / 2) * CLOCK)


def test_of_packed_rows_tiles_are_counted():
  # Four examples over nine tiles of 512: most tiles of queries see two or three others.
  assert measure.tiles_of_row(4608, 4) == 33 * 512**2
  assert measure.tiles_of_row(4480, 4) == 33 * 512**2  # 128 tokens of padding
  assert measure.tiles_of_row(1024, 2) == 2 * 512**2 and measure.tiles_of_row(100, 2) == 128**2


@pytest.mark.parametrize("source, part", [
    ("jit(train_step)/jvp(PaliGemma)/embed_image/img/Transformer/encoderblock/MlpBlock_0/Dense_0/"
     "dot", "tower: MLP"),
    ("jit(train_step)/jvp(PaliGemma)/llm/while/body/layers/mlp/BTD,XDF->BTXF/dot_general",
     "decoder: MLP"),
    ("jvp(PaliGemma)/embed_image/img/Transformer/MultiHeadDotProductAttention_0/shard_map/pallas_call",
     "tower: attention"),
    ("x/llm/layers/attn/q_einsum/dot", "decoder: query, key, value, out"),
    ("x/llm/layers/attn/shard_map/pallas_call", "decoder: attention"),
    ("x/llm/layers/pre_ffw_norm/mul", "decoder: norms, other"),
    (f"jit(train_step)/jvp({losses.LOOP})/while/body/dot", "head and loss"),
    ("x/llm.embed/embedder.encode/gather", "embedding"),
    ("jit(train_step)/mul", "optimizer and other"), ("", "copies without a source")])
def test_parts_of_the_model(source, part, config):
  assert measure.place(source, measure.places(config)) == part


def test_parts_of_an_opt():
  places = measure.places(paligemma.config(llm=dict(variant="opt_tiny")))
  for layer, part in (("query", "query, key, value, out"), ("mul", "attention")):
    assert measure.place(f"x/llm/layers/attn/{layer}/dot", places) == f"decoder: {part}"
