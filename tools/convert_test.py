import dataclasses
import json
import re

import jax
import ml_dtypes
import numpy as np
import pytest

import big_vlm
from big_vlm import trees
from big_vlm.checkpoints import load, native, save, steps
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
    "two towers": dict(img=dict(variant="tiny"), txt=dict(variant="text_tiny", width=16, depth=3)),
    "text tower": dict(txt=dict(variant="text_tiny")),
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


NAFLEX = dict(img=dict(variant="tiny", naflex=True), txt=dict(variant="text_tiny", pad_token=0))


def test_naflex_through_transformers_and_big_vision(tmp_path):
  first = at = random_npz(tmp_path, paligemma.config(**NAFLEX))
  for format, dest in (("hf", "hf"), ("native", "native"), ("npz", "again.npz")):
    assert convert.convert(str(at), str(tmp_path / dest), format, verify=format == "hf") == 0
    at = tmp_path / dest
  assert at.read_bytes() == first.read_bytes()
  with pytest.raises(ValueError, match="KerasHub has no class for .* NaFlex"):
    convert.convert(str(first), str(tmp_path / "keras"), "keras")


@pytest.mark.parametrize("format", ["hf", "keras"])
def test_a_text_tower_without_a_head_gets_the_identity(tmp_path, format):
  """As the released So400m/16 i18n is: the numbers stay, and transformers' class has its head."""
  config = paligemma.config(dict(variant="tiny"), txt=dict(variant="text_tiny", out_width=None))
  source, dest = random_npz(tmp_path, config), tmp_path / "dest"
  assert convert.convert(str(source), str(dest), format, verify=True) == 0
  written = load.open_source(dest)
  np.testing.assert_array_equal(written.leaves["txt/head/kernel"].read(()), np.eye(32))
  before, after = (convert.outputs(load.open_source(p), load.open_source(p).config, "float32")
                   for p in (source, dest))
  np.testing.assert_allclose(before["logits"], after["logits"], atol=1e-5)


def test_parts_of_models(tmp_path):
  """Two towers -> the image tower -> a PaliGemma's; and a PaliGemma's tower alone."""
  pair = random_npz(tmp_path, paligemma.config(**FAMILIES["two towers"]))
  convert.convert(str(pair), str(tmp_path / "img"), "hf", part="img")
  convert.convert(str(pair), str(tmp_path / "txt"), "hf", part="txt")
  img, txt = (load.open_source(tmp_path / part) for part in ("img", "txt"))
  assert set(img.config.parts) == {"img/"} and set(txt.config.parts) == {"txt/"}
  vlm = paligemma.config(**FAMILIES["paligemma"])
  for source in (img, load.open_source(pair)):
    leaves = load.parts({"img": source}, vlm)
    assert not any("MAPHead" in n or "head" in n for n in leaves)
    np.testing.assert_array_equal(leaves["img/pos_embedding"].read(()),
                                  img.leaves["img/pos_embedding"].read(()))
  (tmp_path / "vlm").mkdir()
  whole = random_npz(tmp_path / "vlm", vlm)
  convert.convert(str(whole), str(tmp_path / "tower"), "hf", part="img")
  tower = load.open_source(tmp_path / "tower")
  leaves = load.parts({"img": tower, "txt": load.open_source(pair)},
                      paligemma.config(**FAMILIES["two towers"]))
  assert {"img/embedding/kernel", "txt/head/kernel"} <= set(leaves)
  with pytest.raises(ValueError, match="has no 'txt' part; it is PaliGemma"):
    convert.convert(str(whole), str(tmp_path / "x"), "hf", part="txt")


@pytest.mark.parametrize("family", ["paligemma2", "siglip", "two towers", "opt"])
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


def test_adapters_go_to_peft_and_back(tmp_path, capsys):
  config = paligemma.config(**FAMILIES["paligemma"])
  base = random_npz(tmp_path, config)
  vlm = big_vlm.from_preset(base).with_lora(rank=2, targets=".*attn.*", alpha=6)
  params = trees.map_with_names(
      lambda n, x: x + 0.1 * (n.endswith("lora_b")), vlm.params)
  tuned = dataclasses.replace(vlm, params=params)
  native.write_model(tmp_path / "w", paligemma.to_dict(config), None, lora_scale=3.)
  with steps.Checkpoints(tmp_path / "w") as checkpoints:
    checkpoints.save(7, {"params": params})
  convert.main([str(tmp_path / "w"), str(tmp_path / "peft"), "--format", "peft", "--base", "a/b"])
  assert "peft.PeftModel.from_pretrained" in capsys.readouterr().out
  told = json.loads((tmp_path / "peft/adapter_config.json").read_text())
  assert (told["r"], told["lora_alpha"], told["base_model_name_or_path"]) == (2, 6., "a/b")
  tuned.export(tmp_path / "again", format="peft")
  want = tuned.logits([[2, 5, 6]], images := np.zeros((1, 16, 16, 3), np.uint8))
  for folder in ("peft", "again"):
    got = big_vlm.from_preset(base).load_adapter(tmp_path / folder)
    np.testing.assert_array_equal(got.logits([[2, 5, 6]], images), want)
  convert.main([str(base), str(tmp_path / "hf"), "--format", "hf", "--adapter",
                str(tmp_path / "peft")])
  merged, read = tuned.merge_lora(), load.open_source(tmp_path / "hf").leaves
  for name, x in zip(trees.names(merged.params), jax.tree.leaves(merged.params)):
    np.testing.assert_array_equal(read[name].read(()), x)


@pytest.mark.parametrize("args,message", [
    (["--format", "peft"], "holds no LoRA adapters"),
    (["--format", "kears"], "'kears' is none of native, .*Did you mean 'keras'"),
    (["--format", "hf", "--base", "x"], "--base belongs to --format peft"),
    (["--format", "peft", "--verify"], "leave out --dtype")])
def test_flags_that_do_not_go_together(tmp_path, capsys, args, message):
  source = random_npz(tmp_path, paligemma.config(**FAMILIES["gemma"]))
  with pytest.raises((SystemExit, ValueError)) as error:
    convert.main([str(source), str(tmp_path / "x"), *args])
  assert re.search(message, capsys.readouterr().err + str(error.value))


def test_unknown_names_and_formats_have_near_misses(tmp_path):
  with pytest.raises(ValueError, match="Did you mean 'pali_gemma2_mix_10b_224'"):
    convert.convert("pali_gemma2_10b_mix", str(tmp_path / "x"), "hf")
  source = random_npz(tmp_path, paligemma.config(**FAMILIES["gemma"]))
  with pytest.raises(ValueError, match="checkpoint format.*keras"):
    convert.convert(str(source), str(tmp_path / "x"), "kears")
