import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from big_vlm import sharding, trees
from big_vlm.nn import layers, partitioning
from big_vlm.training import setup
from configs import common


@pytest.mark.parametrize("shape, sizes", [
    (None, (1, 8, 1)), ({}, (1, 8, 1)), ({"data": 2}, (2, 4, 1)),
    ({"data": -1, "fsdp": 2}, (4, 2, 1)), ({"tensor": 2}, (1, 4, 2)),
    ({"data": 2, "fsdp": 2, "tensor": 2}, (2, 2, 2))])
def test_one_axis_takes_the_rest_of_the_devices(shape, sizes):
  mesh = sharding.make_mesh(shape)
  assert mesh.axis_names == ("data", "fsdp", "tensor") and mesh.axis_sizes == sizes


def test_a_mesh_of_some_devices(mesh1):
  assert mesh1.size == 1
  assert sharding.make_mesh({"data": 2}, jax.devices()[:4]).axis_sizes == (2, 2, 1)


@pytest.mark.parametrize("shape, complaint", [
    ({"data": 3}, "does not cover 8 devices. Give one axis -1"),
    ({"fsdp": 4}, "{'data': 1, 'fsdp': 4, 'tensor': 1} does not cover 8 devices"),
    ({"data": 16}, "does not cover 8 devices"),
    ({"data": -1}, "does not cover 8 devices. Give one axis -1"),  # fsdp is -1 as well
    ({"data": 0}, "neither above 0 nor -1"),
    ({"tensor": -2}, "neither above 0 nor -1"),
    ({"model": 2}, "Unknown mesh axes .'model'.; there are data, fsdp, tensor"),
])
def test_meshes_that_cannot_be(shape, complaint):
  with pytest.raises(ValueError, match=complaint):
    sharding.make_mesh(shape)


@pytest.fixture
def mesh():
  return sharding.make_mesh({"data": 1, "fsdp": 4, "tensor": 2})


def specs(mesh, tree, *args, **kw):
  return jax.tree.map(lambda s: s.spec, sharding.tree_sharding(mesh, tree, *args, **kw))


@pytest.mark.parametrize("shape, spec", [
    ((8, 24), P("fsdp", None)), ((24, 8), P("fsdp", None)), ((3, 8, 2), P(None, "fsdp", None)),
    ((8, 8), P("fsdp", None)), ((4, 8, 8), P(None, "fsdp", None)),  # the first is that of layers
    ((4, 5, 6), P("fsdp", None, None)),
    ((30, 4), P(None, "fsdp")),  # 30 is the largest, but 4 devices do not divide it
    # A TPU's tiles are 8 x 128: 64 columns take the space of 128, and 8 rows are a full tile.
    ((2, 32, 256), P(None, "fsdp", None)), ((2, 4, 1024), P(None, None, "fsdp"))])
def test_fsdp_cuts_the_largest_dimension_that_fills_tiles(mesh, shape, spec):
  notes = []
  assert specs(mesh, {"w": np.zeros(shape)}, min_bytes=0, note=notes.append) == {"w": spec}
  array = jax.device_put(np.zeros(shape), sharding.tree_sharding(
      mesh, {"w": np.zeros(shape)}, min_bytes=0)["w"])
  assert array.addressable_shards[0].data.size == array.size // 4 and notes == []


@pytest.mark.parametrize("shape, elements", [
    ((), 1), ((5,), 128), ((8, 128), 1024), ((3, 9, 1), 3 * 16 * 128), ((512, 8), 512 * 128)])
def test_what_tiles_take(shape, elements):
  assert sharding.padded(shape) == elements


@pytest.mark.parametrize("name, shape, spec", [
    ("llm/layers/mlp/gating_einsum", (2, 2, 64, 512), P(None, None, "fsdp", "tensor")),
    ("opt_state/0/mu/llm/layers/mlp/linear", (2, 512, 64), P(None, "tensor", "fsdp")),
    ("llm/layers/attn/q_einsum/w", (2, 8, 64, 16), P(None, "tensor", "fsdp", None)),
    ("llm/layers/attn/kv_einsum/w", (2, 2, 1, 64, 16), P(None, None, None, "fsdp", None)),  # 1 head
    ("llm/embedder/input_embedding", (1024, 64), P("tensor", "fsdp")),
    ("llm/final_norm/scale", (1024,), P("fsdp"))])
def test_the_tensor_axis_cuts_heads_widths_and_vocabulary(mesh, name, shape, spec):
  nested = {name: jax.ShapeDtypeStruct(shape, np.float32)}
  assert specs(mesh, nested, min_bytes=0) == {name: spec}


def test_slices_of_tpus_lie_on_the_data_axis():
  class Chip:
    platform, device_kind = "cpu", "cpu"

    def __init__(self, number):
      self.id, self.slice_index = number, number % 2

    def __repr__(self):
      return f"{self.slice_index}"
  chips = [Chip(n) for n in range(8)]
  grid = sharding.make_mesh({"data": 2}, chips).devices
  assert grid.shape == (2, 4, 1)
  assert [{c.slice_index for c in part.flat} for part in grid] == [{0}, {1}]
  with pytest.raises(ValueError, match="2 slices.*data=1 is not a multiple of that. Give data=2"):
    sharding.make_mesh({}, chips)


def test_shard_activations_spreads_rows_where_a_mesh_is_set_and_they_divide(mesh):
  f = jax.jit(lambda x: partitioning.shard_activations(x * 2))
  assert f(np.ones((8, 2))).sharding.is_fully_replicated
  with jax.set_mesh(mesh):
    assert f(np.ones((8, 2))).sharding.shard_shape((8, 2)) == (2, 2)
    assert f(np.ones((6, 2))).sharding.is_fully_replicated  # 4 parts
  with jax.set_mesh(jax.make_mesh((8,), ("other",), (jax.sharding.AxisType.Auto,))):
    assert f(np.ones((8, 2))).sharding.is_fully_replicated


def test_small_leaves_stay_whole_and_indivisible_ones_are_noted(mesh):
  notes = []
  tree = {"small": np.zeros((8, 8), np.float32), "odd": np.zeros((17, 17), np.float32),
          "step": np.zeros((), np.int32), "half": jax.ShapeDtypeStruct((8, 16), jnp.bfloat16),
          "even": np.zeros((18, 18), np.float32), "big": np.zeros((8, 9), np.float32)}
  got = specs(mesh, tree, min_bytes=8 * 8 * 4 + 1, note=notes.append)
  assert got == {"small": P(), "odd": P(), "step": P(), "half": P(), "even": P(),
                 "big": P("fsdp", None)}
  assert notes == [
      "replicated: even (18, 18), no dimension divides over 4 devices; fsdp=2 would shard it",
      "replicated: odd (17, 17), no dimension divides over 4 devices"]


def test_by_default_a_leaf_is_cut_from_4_mib_on(mesh):
  tree = {"under": jax.ShapeDtypeStruct((2**20 - 4,), np.float32),
          "at": jax.ShapeDtypeStruct((2**20,), np.float32)}
  assert specs(mesh, tree) == {"under": P(), "at": P("fsdp")}


def test_one_device_cuts_nothing_and_notes_nothing(mesh1):
  assert specs(mesh1, {"w": np.zeros((17,))}, min_bytes=0, note=pytest.fail) == {"w": P()}


def test_rules_name_the_axis_of_each_dimension(mesh):
  rules = ((".*/mlp/.*", (None, "fsdp", "tensor")), (".*/norm", "replicate"), (".*", "fsdp"))
  tree = {"llm": {"mlp": {"w": np.zeros((2, 4, 8))}, "norm": np.zeros(64), "o": np.zeros((4, 3))}}
  assert specs(mesh, tree, rules, min_bytes=0) == {
      "llm": {"mlp": {"w": P(None, "fsdp", "tensor")}, "norm": P(), "o": P("fsdp", None)}}


@pytest.mark.parametrize("how, complaint", [
    (("fsdp", None), r"w \(6, 4\): 6 does not divide over the fsdp axis of 4 devices"),
    ((None,), r"w \(6, 4\): the sharding \(None,\) is not 'fsdp', 'replicate', or for each"),
    ((None, "fsdp", None), "for each dimension None or one of data, fsdp, tensor"),
    ((None, "fspd"), "is not 'fsdp', 'replicate', or"),
    ("replicated", "the sharding 'replicated' is not 'fsdp', 'replicate', or"),
])
def test_rules_that_do_not_fit(mesh, how, complaint):
  with pytest.raises(ValueError, match=complaint):
    sharding.tree_sharding(mesh, {"w": np.zeros((6, 4))}, ((".*", how),))


@pytest.mark.parametrize("regex, new", [
    ("params/llm/.*", "llm/.*"), (".*params/img/.*", "img/.*"), ("opt_state/.*/mu/.*", ".*/mu/.*")])
def test_rules_of_before_name_the_new_one(mesh, regex, new):
  with pytest.raises(ValueError, match=re.escape(f"The sharding rule {regex!r} is now {new!r}")):
    specs(mesh, {"llm": {"w": np.zeros(4)}}, ((regex, "replicate"), (".*", "fsdp")))


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_a_run_has_the_names_of_its_schedule(optimizer):
  config = common.train(total_steps=2)
  config.model.update(img=dict(variant="tiny"), llm=dict(variant="tiny"))
  config.optimizer.update(name=optimizer, ema=0.5)
  config.sharding = (("img/.*", "replicate"), ("llm/layers/mlp/linear", (None, "tensor", "fsdp")),
                     ("llm/.*", "replicate"))
  config.mesh.tensor = 2
  s = setup.make(config)
  found = {name: (where.spec, leaf.shape) for name, where, leaf in zip(
      trees.names(s.shapes), jax.tree.leaves(s.shardings), jax.tree.leaves(s.shapes))}
  linear = {name: spec for name, (spec, shape) in found.items()
            if name.endswith("llm/layers/mlp/linear") and shape == (2, 64, 32)}
  assert {"params/llm/layers/mlp/linear", "ema/llm/layers/mlp/linear"} < set(linear)
  assert set(linear.values()) == {P(None, "tensor", "fsdp")}
  assert {spec for name, (spec, _) in found.items() if name not in linear} == {P()}


def test_rules_cover_or_raise(mesh):
  with pytest.raises(ValueError, match="No sharding rule covers 1 of 2 parameters, e.g. img/w"):
    sharding.tree_sharding(mesh, {"img": {"w": np.zeros(4)}, "llm": {"w": np.zeros(4)}},
                           (("llm/.*", "fsdp"),))


def test_put_batch_cuts_rows_over_data_and_fsdp():
  mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
  batch = {"text": np.arange(24, dtype=np.int32).reshape(8, 3), "_mask": np.ones(8, bool)}
  np.testing.assert_array_equal(sharding.local_batch_rows(mesh, 8), np.arange(8))  # of one process
  put = sharding.make_global_array(mesh, batch, batch_size=8)
  for key, x in batch.items():
    np.testing.assert_array_equal(put[key], x)
    assert put[key].dtype == x.dtype and put[key].sharding.spec == P(("data", "fsdp"))
    assert {s.data.shape[0] for s in put[key].addressable_shards} == {2}


def test_a_batch_that_does_not_divide():
  with pytest.raises(ValueError, match="A batch of 6 does not divide over the 8 devices"):
    sharding.local_batch_rows(sharding.make_mesh(), 6)
  with pytest.raises(ValueError, match="partitioned 8 times, but the dimension size is 6"):
    sharding.make_global_array(sharding.make_mesh(), {"text": np.zeros((6, 3), np.int32)})


def test_a_shared_table_is_looked_up_by_columns(mesh, rng):
  table, ids = rng.normal(size=(32, 1280)).astype(np.float32), rng.integers(0, 32, (4, 7))
  f = jax.jit(jax.value_and_grad(lambda t, ids: jnp.sum(jnp.sin(layers.lookup(t, ids)))))
  expected = f(table, ids)
  plain = str(jax.make_jaxpr(layers.lookup)(table, ids))
  with jax.set_mesh(mesh):
    parts = str(jax.make_jaxpr(layers.lookup)(table, ids))
    placed = jax.device_put(table, NamedSharding(mesh, P("fsdp")))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), f(placed, ids), expected)
    assert layers.lookup(table, ids).shape == (4, 7, 1280)
  assert "scan" in parts and "f32[32,256]" in parts and "scan" not in plain  # 512 does not divide


def test_a_step_on_8_devices_is_that_of_one(monkeypatch):
  monkeypatch.setattr(sharding, "tree_sharding",
                      functools.partial(sharding.tree_sharding, min_bytes=0))
  rng = np.random.default_rng(0)
  batch = {"image": rng.integers(0, 256, (8, 16, 16, 3), np.uint8),
           "text": rng.integers(1, 128, (8, 9), np.int32),
           "mask_ar": np.tile(np.arange(9) > 3, (8, 1)).astype(np.int32)}
  batch["mask_loss"] = batch["mask_ar"] * (np.arange(9) < rng.integers(5, 10, (8, 1)))

  def step(devices, **mesh):
    config = common.train(total_steps=2)
    tiny = dict(variant="tiny", remat="none")
    config.model.update(img=tiny, llm=tiny, dtype="float32")
    config.optimizer.update(name="sgd", lr=1., clip_norm=0.)
    config.input.batch_size = 8
    config.mesh.update(mesh)
    s = setup.make(config, devices)
    with jax.set_mesh(s.mesh):
      state, metrics = s.step(setup.start(config, s), sharding.make_global_array(s.mesh, batch))
    return jax.device_get(state.params), metrics["loss"], s.shardings.params
  alone, before, _ = step(jax.devices()[:1])
  many, after, placed = step(None, data=2, fsdp=2, tensor=2)
  assert placed["llm"]["layers"]["mlp"]["linear"].spec == P(None, "tensor", "fsdp")
  np.testing.assert_allclose(before, after, rtol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), alone, many)
