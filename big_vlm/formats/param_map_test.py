import numpy as np
import pytest

from big_vlm.formats import param_map
from big_vlm.formats.lazy_array import from_array
from big_vlm.formats.param_map import ParamMapping

L, H, E, D = 3, 2, 4, 5
ROWS = [
    ParamMapping("q", "layers.{}.q.weight", "n d h -> (n h) d", axes=(range(L),)),
    ParamMapping("kv", "layers.{}.{}.weight", "k d h -> (k h) d", axes=(range(L), "kv")),
    ParamMapping("query", "head.in_proj", "d h e -> (h e) d", part=(0, 2)),
    ParamMapping("key", "head.in_proj", "d h e -> (h e) d", part=(1, 2)),
    ParamMapping("table", "embed.weight", padding_before=2, padding_after=3),
    ParamMapping("norm", "norm.weight"),
]
SHAPES = {"q": (L, H, D, E), "kv": (L, 2, 1, D, E), "query": (D, H, E), "key": (D, H, E),
          "table": (6, D), "norm": (D,)}


@pytest.fixture
def ours(rng):
  return {n: rng.normal(size=s).astype(np.float32) for n, s in SHAPES.items()}


@pytest.fixture
def external(ours):
  return param_map.export_(ROWS, {n: from_array(x) for n, x in ours.items()})


def test_pieces_lie_where_the_rows_say(ours, external):
  assert len(external) == 3 * L + 3
  np.testing.assert_array_equal(external["layers.1.v.weight"].read(()), ours["kv"][1, 1, 0].T)
  np.testing.assert_array_equal(external["layers.2.q.weight"].read(()),
                                np.concatenate([ours["q"][2, n].T for n in range(H)]))
  np.testing.assert_array_equal(
      external["head.in_proj"].read(()),
      np.concatenate([ours[n].reshape(D, H * E).T for n in ("query", "key")]))


def test_padding_rows_are_zeros_ahead_and_the_mean_behind(ours, external):
  table = external["embed.weight"].read(())
  assert table.shape == external["embed.weight"].shape == (11, D)
  assert not table[:2].any()
  np.testing.assert_array_equal(table[2:8], ours["table"])
  np.testing.assert_allclose(table[8:], np.tile(ours["table"].mean(0), (3, 1)), rtol=1e-6)


def test_there_and_back_is_bit_for_bit(ours, external):
  back = param_map.import_(ROWS, external, SHAPES, "x")
  for name, x in ours.items():
    np.testing.assert_array_equal(back[name].read(()), x)
    assert back[name].shape == x.shape and back[name].dtype == x.dtype


@pytest.mark.parametrize("index", [(1,), (slice(1, 3),), (slice(None), 1), (2, 0, 0),
                                   (slice(0, 2), slice(None), 0, slice(1, 4)), (0, 1, 0, 2, 3)])
def test_part_of_a_leaf_reads_like_numpy(ours, external, index):
  back = param_map.import_(ROWS, external, SHAPES, "x")
  np.testing.assert_array_equal(back["kv"].read(index), ours["kv"][index])


def test_all_mismatches_are_one_error(external, rng):
  del external["layers.1.k.weight"], external["norm.weight"]
  external["lora.weight"] = external["head.in_proj"]
  external["embed.weight"] = from_array(rng.normal(size=(10, D)))
  with pytest.raises(ValueError) as e:
    param_map.import_(ROWS, external, SHAPES, "folder")
  for part in ("folder does not fit", "2 missing: layers.1.k.weight, norm.weight",
               "1 unexpected: lora.weight", "embed.weight [10, 5], not [11, 5]"):
    assert part in str(e.value)
