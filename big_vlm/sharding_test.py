import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from big_vlm import sharding


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
    ((8, 24), P(None, "fsdp")), ((24, 8), P("fsdp", None)), ((3, 8, 2), P(None, "fsdp", None)),
    ((8, 8), P("fsdp", None)),  # the first of equals
    ((30, 4), P(None, "fsdp"))])  # 30 is the largest, but 4 devices do not divide it
def test_fsdp_cuts_the_largest_dimension_that_divides(mesh, shape, spec):
  notes = []
  assert specs(mesh, {"w": np.zeros(shape)}, min_bytes=0, note=notes.append) == {"w": spec}
  array = jax.device_put(np.zeros(shape), sharding.tree_sharding(
      mesh, {"w": np.zeros(shape)}, min_bytes=0)["w"])
  assert array.addressable_shards[0].data.size == array.size // 4 and notes == []


def test_small_leaves_stay_whole_and_indivisible_ones_are_noted(mesh):
  notes = []
  tree = {"small": np.zeros((8, 8), np.float32), "odd": np.zeros((17, 17), np.float32),
          "step": np.zeros((), np.int32), "half": jax.ShapeDtypeStruct((8, 16), jnp.bfloat16),
          "big": np.zeros((8, 9), np.float32)}
  got = specs(mesh, tree, min_bytes=8 * 8 * 4 + 1, note=notes.append)
  assert got == {"small": P(), "odd": P(), "step": P(), "half": P(), "big": P("fsdp", None)}
  assert notes == ["replicated: odd (17, 17), no dimension divides over 4 devices"]


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


def test_rules_cover_or_raise(mesh):
  with pytest.raises(ValueError, match="No sharding rule covers 1 of 2 parameters, e.g. img/w"):
    sharding.tree_sharding(mesh, {"img": {"w": np.zeros(4)}, "llm": {"w": np.zeros(4)}},
                           (("llm/.*", "fsdp"),))


def test_put_batch_cuts_rows_over_data_and_fsdp():
  mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
  batch = {"text": np.arange(24, dtype=np.int32).reshape(8, 3), "_mask": np.ones(8, bool)}
  put = sharding.put_batch(mesh, batch)
  for key, x in batch.items():
    np.testing.assert_array_equal(put[key], x)
    assert put[key].dtype == x.dtype and put[key].sharding.spec == P(("data", "fsdp"))
    assert {s.data.shape[0] for s in put[key].addressable_shards} == {2}


def test_a_batch_that_does_not_divide():
  with pytest.raises(ValueError, match="partitioned 8 times, but the dimension size is 6"):
    sharding.put_batch(sharding.make_mesh(), {"text": np.zeros((6, 3), np.int32)})
