import ml_dtypes
import numpy as np
import pytest

from big_vlm.checkpoints import load, save
from big_vlm.checkpoints.checkpoint import Checkpoint, from_array
from big_vlm.families import paligemma
from tools import convert

FAMILIES = {
    "paligemma": dict(img=dict(variant="tiny"), llm=dict(variant="tiny")),
    "paligemma2": dict(img=dict(variant="tiny"), llm=dict(variant="tiny2", window=None)),
    "gemma": dict(llm=dict(variant="tiny")),
    "gemma_mha": dict(llm=dict(variant="tiny", kv_heads=4)),
    "gemma2": dict(llm=dict(variant="tiny2")),
    "gemma3": dict(llm=dict(variant="gemma3_tiny", global_every=6)),
    "opt": dict(llm=dict(variant="opt_tiny")),
    "siglip": dict(img=dict(variant="tiny", pool="map")),
}


def random_npz(folder, config, dtype=np.float32):
  rng = np.random.default_rng(0)
  leaves = {n: from_array(rng.normal(0, 0.2, x.shape).astype(dtype))
            for n, x in paligemma.param_shapes(config).items()}
  return save.save(Checkpoint("random", config, leaves, None), folder / "first.npz", "npz")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_round_trip_through_all_formats_is_bit_exact(tmp_path, family, dtype):
  config = paligemma.config(**FAMILIES[family])
  first = at = random_npz(tmp_path, config, dtype)
  for i, format in enumerate(("native", "hf", "native", "keras", "native", "npz")):
    dest = tmp_path / (f"{i}.npz" if format == "npz" else f"{i}-{format}")
    convert.convert(str(at), str(dest), format)
    at = dest
  want, got = np.load(first), np.load(at)
  assert at != first and set(got.files) == set(want.files)
  for name in want.files:
    assert got[name].dtype == want[name].dtype
    assert got[name].tobytes() == want[name].tobytes(), name
  assert load.open_source(at).config == config


@pytest.mark.parametrize("family", ["paligemma2", "siglip", "opt"])
def test_verify_compares_every_layer(tmp_path, capsys, family):
  source = random_npz(tmp_path, paligemma.config(**FAMILIES[family]))
  assert convert.convert(str(source), str(tmp_path / "out"), "hf", verify=True) == 0
  assert "all equal" in capsys.readouterr().out


def test_verify_names_the_first_layer_that_differs(tmp_path, capsys):
  config = paligemma.config(**FAMILIES["paligemma"])
  opened = load.open_source(random_npz(tmp_path, config))
  changed = dict(opened.leaves)
  linear = changed["llm/layers/mlp/linear"].read(()).copy()
  linear[1] *= 1.01
  changed["llm/layers/mlp/linear"] = from_array(linear)
  error = convert.compare(opened, Checkpoint("changed", config, changed, None))
  assert error > 0
  assert "first difference in block 2" in capsys.readouterr().out  # block 0 is the input


def test_another_dtype(tmp_path):
  source = random_npz(tmp_path, paligemma.config(**FAMILIES["gemma"]))
  convert.convert(str(source), str(tmp_path / "half.npz"), "npz", dtype="bfloat16")
  leaves = load.open_source(tmp_path / "half.npz").leaves
  assert {leaf.dtype for leaf in leaves.values()} == {np.dtype(ml_dtypes.bfloat16)}


def test_unknown_names_and_formats_have_near_misses(tmp_path):
  with pytest.raises(ValueError, match="Did you mean 'pali_gemma2_mix_10b_224'"):
    convert.convert("pali_gemma2_10b_mix", str(tmp_path / "x"), "hf")
  source = random_npz(tmp_path, paligemma.config(**FAMILIES["gemma"]))
  with pytest.raises(ValueError, match="checkpoint format.*keras"):
    convert.convert(str(source), str(tmp_path / "x"), "kears")
