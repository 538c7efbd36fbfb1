import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import sharding, trees
from big_vlm.adapt import einsum_hook, lora, quantize
from big_vlm.families import paligemma

EVERYTHING = ".*"
CONFIGS = {
    "paligemma": dict(img={"variant": "tiny"}, llm={"variant": "tiny"}),
    "gemma2": dict(llm={"variant": "tiny2"}),
    "gemma_mha": dict(llm={"variant": "tiny", "kv_heads": 4}),
    "opt": dict(llm={"variant": "opt_tiny"}),
    "siglip": dict(img={"variant": "tiny", "pool": "map"}),
}


@functools.cache
def fresh(name, dtype="float32"):
  """(model, params of the dtype)."""
  model = paligemma.PaliGemma(paligemma.with_dtype(paligemma.config(**CONFIGS[name]), dtype))
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  return model, jax.tree.map(lambda x: x.astype(dtype), params)


def random_b(params, std=0.3):
  """params whose adapters do something."""
  rng = np.random.default_rng(0)
  return trees.map_with_names(
      lambda n, x: jnp.asarray(rng.normal(0, std, x.shape), x.dtype) if n.endswith("lora_b") else x,
      params)


def outputs(model, params):
  """Logits of 7 tokens, behind an image if there is a tower; of a tower alone, its features."""
  rng, c = np.random.default_rng(1), model.config
  image = None if c.img is None else rng.uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
  text = rng.integers(0, 128, (2, 7)).astype(np.int32)
  return _run(model, params, text, image)


@functools.partial(jax.jit, static_argnames="model")
def _run(model, params, text, image):
  if model.config.llm is None:
    return model.apply({"params": params}, image, method="embed_image")
  hidden = model.apply({"params": params}, text, jnp.ones_like(text), image)
  return model.apply({"params": params}, hidden, method="logits")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CONFIGS)
def test_new_adapters_change_nothing_to_the_bit(name, dtype):
  model, params = fresh(name, dtype)
  adapted = lora.add(model, params, rank=4, targets=EVERYTHING)
  assert len(lora.adapters(adapted)) == len(einsum_hook.multiplying(model))
  np.testing.assert_array_equal(outputs(model, adapted), outputs(model, params))


@pytest.mark.parametrize("name", CONFIGS)
def test_merged_and_adapted_models_agree(name):
  model, params = fresh(name)
  adapted = random_b(lora.add(model, params, rank=4, targets=EVERYTHING, alpha=6))
  merged = lora.merge(adapted)
  assert trees.names(merged) == trees.names(params)
  got, want = outputs(model, merged), outputs(model, adapted)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
  assert np.abs(got - outputs(model, params)).max() > 0.1


def test_shapes_and_dtypes_of_adapters():
  model, params = fresh("paligemma", "bfloat16")
  adapters = lora.adapters(lora.add(model, params, rank=3, targets=".*attn.*|.*gating.*"))
  shapes = {n.removeprefix("llm/layers/"): (x.base.shape, x.lora_a.shape, x.lora_b.shape)
            for n, x in adapters.items()}
  assert shapes == {  # 2 layers; keys and values, gate and up have adapters of their own
      "attn/q_einsum/w": ((2, 4, 32, 16), (2, 32, 3), (2, 3, 4, 16)),
      "attn/kv_einsum/w": ((2, 2, 1, 32, 16), (2, 2, 32, 3), (2, 2, 3, 1, 16)),
      "attn/attn_vec_einsum/w": ((2, 4, 16, 32), (2, 4, 16, 3), (2, 3, 32)),
      "mlp/gating_einsum": ((2, 2, 32, 64), (2, 2, 32, 3), (2, 2, 3, 64))}
  assert {x.lora_a.dtype.name for x in adapters.values()} == {"float32"}
  assert {x.base.dtype.name for x in adapters.values()} == {"bfloat16"}
  merged = lora.merge(lora.add(model, params))
  assert jax.tree.map(lambda x: x.dtype, merged) == jax.tree.map(lambda x: x.dtype, params)


@pytest.mark.parametrize("targets, names", [
    (None, ["attn/attn_vec_einsum/w", "attn/kv_einsum/w", "attn/q_einsum/w",
            "mlp/gating_einsum", "mlp/linear"]),
    (".*attn.*|.*mlp.*", ["attn/attn_vec_einsum/w", "attn/kv_einsum/w", "attn/q_einsum/w",
                          "mlp/gating_einsum", "mlp/linear"]),
    ("llm/layers/attn/(q|kv)_einsum/w", ["attn/kv_einsum/w", "attn/q_einsum/w"]),
    ("img/head/.*", ["img/head/kernel"])])  # img/head/bias is matched and left out
def test_targets(targets, names):
  model, params = fresh("paligemma")
  found = lora.adapters(lora.add(model, params, targets=targets))
  assert [n.removeprefix("llm/layers/") for n in found] == names


def test_adapters_of_a_weight_do_not_depend_on_the_other_targets():
  model, params = fresh("gemma2")
  many = lora.adapters(lora.add(model, params))
  for name, one in lora.adapters(lora.add(model, params, targets=".*linear")).items():
    np.testing.assert_array_equal(one.lora_a, many[name].lora_a)
    other = lora.adapters(lora.add(model, params, targets=".*linear", seed=1))[name]
    assert np.abs(one.lora_a - other.lora_a).max() > 0.1


@pytest.mark.parametrize("targets, message", [
    ("llm/layer/mlp/linear", "'llm/layer/mlp/linear' match no weight.*'llm/layers/mlp/linear'"),
    (".*attn.*|.*mpl.*", r"'\.\*mpl\.\*' match no weight"),  # half of it matches
    (".*(attn|mpl).*|img/haed/kernel", "'img/haed/kernel' match no.*'img/head/kernel'"),
    ("llm/final_norm/scale", "match no weight.* name such as img/.*, llm/layers/mlp/linear"),
    ("", "'' match no weight"),
    ("*attn", "not a regular expression: nothing to repeat")])
def test_targets_that_match_nothing(targets, message):
  model, params = fresh("paligemma")
  with pytest.raises(ValueError, match=message):
    lora.add(model, params, targets=targets)


def test_other_mistakes():
  model, params = fresh("gemma2")
  for rank in (0, -1, 2.5):
    with pytest.raises(ValueError, match="whole number above 0"):
      lora.add(model, params, rank=rank)
  with pytest.raises(ValueError, match="have adapters already, e.g. llm/layers/attn"):
    lora.add(model, lora.add(model, params))
  with pytest.raises(ValueError, match="no LoRA adapters"):
    lora.merge(params)


@pytest.mark.parametrize("kind", [None, "int8", "int4"])
def test_only_adapters_get_gradients(kind):
  model, params = fresh("paligemma")
  if kind:
    params = quantize.quantize(model, params, kind)
  params = random_b(lora.add(model, params, rank=2, targets=EVERYTHING))
  train = [bool(re.fullmatch(lora.TRAINABLE, n)) for n in trees.names(params)]
  leaves, tree = jax.tree.flatten(params)

  def loss(adapters):
    new = iter(adapters)
    merged = [next(new) if t else x for t, x in zip(train, leaves)]
    return jnp.mean(jnp.square(outputs(model, jax.tree.unflatten(tree, merged))))

  adapters = [x for t, x in zip(train, leaves) if t]
  value, grads = jax.jit(jax.value_and_grad(loss))(adapters)
  assert all(float(jnp.abs(g).max()) > 0 for g in grads)
  step = [x - 0.01 * g for x, g in zip(adapters, grads)]
  assert loss(step) < value


def test_saved_adapters_come_back(tmp_path):
  model, params = fresh("paligemma")
  adapted = random_b(lora.add(model, params, rank=2, targets=".*attn.*|img/head/kernel", alpha=3))
  lora.save(adapted, tmp_path / "a.safetensors", ".*attn.*|img/head/kernel")
  read = lora.load(model, params, tmp_path / "a.safetensors")
  assert jax.tree.structure(read) == jax.tree.structure(adapted)
  jax.tree.map(np.testing.assert_array_equal, read, adapted)
  lora.save(adapted, tmp_path / "b.safetensors")  # targets: the names themselves
  small = quantize.quantize(model, params, "int8")  # the base is another matter
  assert list(lora.adapters(lora.load(model, small, tmp_path / "b.safetensors"))) == list(
      lora.adapters(adapted))


def test_loading_is_strict(tmp_path):
  model, params = fresh("gemma2")
  lora.save(lora.add(model, params, rank=2), tmp_path / "a", ".*attn.*|.*mlp.*")
  other, other_params = fresh("paligemma")
  with pytest.raises(ValueError, match="(?s)of another shape.*kv_einsum/w/lora_a"):
    lora.load(other, other_params, tmp_path / "a")
  opt, opt_params = fresh("opt")
  with pytest.raises(ValueError, match="(?s)missing.*query/kernel/lora_a.*unexpected.*q_einsum"):
    lora.load(opt, opt_params, tmp_path / "a")


def test_adapters_lie_on_the_mesh_of_their_weights():
  model, params = fresh("gemma2")
  mesh = sharding.make_mesh()
  where = sharding.tree_sharding(mesh, params, min_bytes=0)
  params = jax.device_put(params, where)
  adapted = random_b(lora.add(model, params, rank=2))
  assert lora.adapters(adapted)["llm/layers/mlp/linear"].lora_a.sharding.is_fully_replicated
  merged = lora.merge(adapted)
  assert jax.tree.map(lambda x: x.sharding, merged) == where
  np.testing.assert_allclose(outputs(model, merged), outputs(model, adapted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["paligemma", "gemma2", "siglip"])
def test_dropout_is_a_function_of_the_key_and_absent_without_one(name):
  model, params = fresh(name)
  plain = random_b(lora.add(model, params, rank=4, targets=EVERYTHING))
  adapted = random_b(lora.add(model, params, rank=4, targets=EVERYTHING, dropout=0.5))
  want = outputs(model, plain)
  np.testing.assert_array_equal(outputs(model, adapted), want)  # an evaluation drops nothing
  first, again, other = (outputs(model, lora.with_dropout(adapted, jax.random.key(k)))
                         for k in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - want).max() > 0.01 and np.abs(first - other).max() > 0.01
  assert trees.names(adapted) == trees.names(plain)
  same = lora.with_dropout(plain, jax.random.key(1))
  jax.tree.map(np.testing.assert_array_equal, same, plain)


def test_dropout_keeps_the_mean_and_differs_from_layer_to_layer():
  model, params = fresh("paligemma")
  adapted = random_b(lora.add(model, params, rank=4, dropout=0.25))
  name, one = next(iter(lora.adapters(adapted).items()))
  keyed = lora.adapters(lora.with_dropout(adapted, jax.random.key(0)))[name]
  assert keyed.key.shape == (len(one.lora_a), 2) and len(np.unique(keyed.key, axis=0)) > 1
  x = jnp.ones((40, 1000))
  dropped = keyed.replace(key=keyed.key[0])._dropped(x)
  assert set(np.unique(dropped).round(4)) == {0., np.float32(1 / 0.75).round(4)}
  assert float(dropped.mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("dropout", [1., -0.1])
def test_a_dropout_that_makes_no_sense(dropout):
  model, params = fresh("gemma2")
  with pytest.raises(ValueError, match=r"dropout of LoRA is .*: it must be in \[0, 1\)"):
    lora.add(model, params, dropout=dropout)
