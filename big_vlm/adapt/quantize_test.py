import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import cpu, sharding, trees
from big_vlm.adapt import einsum_hook, lora, quantize
from big_vlm.adapt.lora_test import CONFIGS, fresh, outputs, random_b
from big_vlm.checkpoints import load
from big_vlm.families import paligemma
from big_vlm.families.spec import ParamSpec

BENCH = dict(img={"variant": "S/14"},
             llm=dict(variant="gemma_2b", width=512, depth=8, heads=8, kv_heads=1, head_dim=64,
                      mlp=2048, vocab_size=257_152))
MATRIX = ParamSpec("D E", "projection", ins="D")
PALIGEMMA = dict(img={"variant": "So400m/14"}, llm={"variant": "gemma_2b", "vocab_size": 257_152})


def test_int8_of_a_matrix():
  w = jnp.array([[1., -2., 0.], [0.5, 127., 0.]])  # [in, out]: a scale per column
  node = quantize._round(w, MATRIX, quantize.KINDS["int8"])
  np.testing.assert_array_equal(node.q, [[127, -2, 0], [64, 127, 0]])
  assert node.scale.dtype == jnp.bfloat16
  np.testing.assert_allclose(node.scale.astype(float), [[1 / 127, 1, 1e-30 / 127]], rtol=1 / 256)
  np.testing.assert_allclose(node.dequantize(), [[1, -2, 0], [64 / 127, 127, 0]], rtol=1 / 256)


@pytest.mark.parametrize("kind", quantize.KINDS)
def test_no_weight_moves_by_more_than_half_a_scale(kind, rng):
  most = quantize.KINDS[kind].largest
  w = rng.normal(size=(32, 512)).astype(np.float32)
  w[0] = most * (1 + np.arange(512) / 512)  # scales of all that bfloat16 rounds, ties among them
  node = quantize._round(jnp.asarray(w), MATRIX, quantize.KINDS[kind])
  assert np.all(np.asarray(node.q[0]) == most)
  assert np.all(np.abs(node.dequantize() - w) <= np.asarray(node.scale, np.float32) / 2)


@pytest.mark.parametrize("shape, scales", [
    ((64, 48), (2, 48)), ((32, 48), (1, 48)), ((72, 8), (3, 8)),  # groups of 32, 32, 24
    ((31, 8), (1, 8)), ((1, 8), (1, 8))])
def test_int4_groups(shape, scales, rng):
  w = rng.normal(size=shape).astype(np.float32)
  node = quantize._round(jnp.asarray(w), MATRIX, quantize.KINDS["int4"])
  assert node.q.shape == shape and node.scale.shape == scales
  step = np.repeat(np.asarray(node.scale, np.float32), shape[0] // scales[0], axis=0)
  assert np.all(np.abs(node.dequantize() - w) <= step / 2 * (1 + 1e-6))


@pytest.mark.parametrize("kind, most", [("int8", 0.55), ("int4", 0.32)])
@pytest.mark.parametrize("parts", [BENCH, PALIGEMMA])
def test_memory_of_full_models(parts, kind, most):
  model = paligemma.PaliGemma(paligemma.config(**parts))
  shapes = jax.eval_shape(lambda: paligemma.init_params(model, jax.random.key(0)))
  bf16 = trees.map_with_names(
      lambda n, x: jax.ShapeDtypeStruct(x.shape, load.dtype_of(n, "bfloat16")), shapes)
  small = jax.eval_shape(lambda p: quantize.quantize(model, p, kind), bf16)
  assert quantize.nbytes(small) <= most * quantize.nbytes(bf16)


def test_int4_takes_half_a_byte():
  x = jnp.zeros((64, 1024), jnp.int4)
  memory = jax.jit(lambda x: x + 1).lower(x).compile().memory_analysis()
  assert memory.argument_size_in_bytes == quantize.nbytes(x) == 64 * 1024 // 2


# Random weights of width 32 are coarse in 4 bits: 0.40 of Gemma 2's logits, 18 times int8's.
@pytest.mark.parametrize("kind, error", [("int8", 0.03), ("int4", 0.5)])
@pytest.mark.parametrize("name", CONFIGS)
def test_quantized_models_answer_nearly_as_before(name, kind, error):
  model, params = fresh(name)
  small = quantize.quantize(model, params, kind)
  want, got = outputs(model, params), outputs(model, small)
  assert 0 < np.linalg.norm(got - want) < error * np.linalg.norm(want)
  kept = [n for n, w in einsum_hook.weights(small).items() if not isinstance(w, quantize.Quantized)]
  assert {n.rpartition("/")[2] for n in kept if n != "img/embedding/kernel"} <= {
      "scale", "bias", "pos_embedding", "probe"}


@pytest.mark.parametrize("kind", quantize.KINDS)
def test_the_wrappers_multiply_as_their_dequantized_weights(kind):
  model, params = fresh("paligemma")
  small = quantize.quantize(model, params, kind)
  plain = einsum_hook.replace(small, {
      n: w.dequantize() for n, w in einsum_hook.weights(small).items()
      if isinstance(w, quantize.Quantized)})
  np.testing.assert_allclose(outputs(model, small), outputs(model, plain), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 5, 64, 127, 128])
def test_a_table_in_pieces(rows, monkeypatch, rng):
  eqn, w = "...D,VD->...V", rng.normal(size=(128, 32)).astype(np.float32)
  spec = ParamSpec("V D", "embedding", ins="D")
  table = quantize._round(jnp.asarray(w), spec, quantize.KINDS["int4"])
  x = rng.normal(size=(2, 3, 32)).astype(np.float32)
  monkeypatch.setattr(quantize, "PIECE", rows * 32)
  got = jax.jit(lambda x: table.einsum(eqn, x, jnp.float32))(x)
  np.testing.assert_allclose(got, x @ table.dequantize().T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", quantize.KINDS)
def test_a_tpu_looks_up_the_same_rows_and_its_head_is_whole(kind, monkeypatch, rng):
  w = jnp.asarray(rng.normal(size=(128, 64)), jnp.float32)
  table = quantize._round(w, ParamSpec("V D", "embedding", ins="D"), quantize.KINDS[kind])
  ids, x = jnp.array([[0], [63], [64], [127]]), w[:9]
  rows, logits = table.lookup(ids), table.einsum("BD,VD->BV", x, jnp.float32)
  monkeypatch.setattr(cpu, "platform", lambda: "tpu")
  np.testing.assert_array_equal(table.lookup(ids), rows)
  np.testing.assert_array_equal(table.einsum("BD,VD->BV", x, jnp.float32), logits)


def test_a_quantized_base_under_adapters_and_back():
  model, params = fresh("gemma2", "bfloat16")
  adapted = random_b(lora.add(model, quantize.quantize(model, params, "int8"), rank=2))
  same = quantize.quantize(model, random_b(lora.add(model, params, rank=2)), "int8")
  jax.tree.map(np.testing.assert_array_equal, adapted, same)
  assert {"llm/layers/mlp/linear/base/q", "llm/layers/mlp/linear/base/scale",
          "llm/layers/mlp/linear/lora_a", "llm/embedder/input_embedding/q"} <= set(
              trees.names(adapted))
  merged = lora.merge(adapted)
  linear = merged["llm"]["layers"]["mlp"]["linear"]
  assert linear.dtype == jnp.bfloat16 and linear.shape == (3, 64, 32)


def test_shardings_stay():
  model, params = fresh("paligemma")
  params = jax.device_put(params, sharding.tree_sharding(sharding.make_mesh(), params, min_bytes=0))
  want = outputs(model, params)
  for kind, error in (("int8", 0.03), ("int4", 0.3)):
    small = quantize.quantize(model, params, kind)
    for name, node in einsum_hook.weights(small).items():
      if isinstance(node, quantize.Quantized):
        assert node.q.sharding == einsum_hook.weights(params)[name].sharding
    linear = small["llm"]["layers"]["mlp"]["linear"]  # [2, 64, 32], cut along its inputs
    assert linear.q.sharding.spec[1] == "fsdp"
    assert linear.scale.sharding.is_fully_replicated
    got = outputs(model, small)
    assert np.linalg.norm(got - want) < error * np.linalg.norm(want)


def test_bytes():
  model, params = fresh("paligemma")
  before = quantize.nbytes(params)
  assert before == sum(x.nbytes for x in jax.tree.leaves(params))
  assert quantize.nbytes(quantize.quantize(model, params, "int8")) / before < 0.5  # of float32


def test_mistakes():
  model, params = fresh("gemma2")
  with pytest.raises(ValueError, match="Unknown kind of quantized weights 'int5'.*int4, int8"):
    quantize.quantize(model, params, "int5")
  with pytest.raises(ValueError, match="quantized already, as int8"):
    quantize.quantize(model, quantize.quantize(model, params, "int8"), "int4")
