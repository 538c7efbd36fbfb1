"""Folders of PEFT made by hand in its format; tests/parity/peft_test.py has PEFT's own."""
import json
import pathlib

import jax
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from big_vlm import trees
from big_vlm.adapt import lora, peft
from big_vlm.checkpoints import hf
from big_vlm.families import paligemma

GOLDEN = pathlib.Path(__file__).parents[2] / "tests/golden/hf_gemma2"
BASE = safetensors.numpy.load_file(next(GOLDEN.glob("*.safetensors")))
SHAPES = {n.removesuffix(".weight"): w.shape for n, w in BASE.items() if "proj" in n}


def opened():
  source = hf.open_source(GOLDEN)
  params = trees.nested({n: jax.numpy.asarray(x.read(())) for n, x in source.leaves.items()})
  return paligemma.PaliGemma(source.config), params


MODEL, PARAMS = opened()


def pairs(select, rank=lambda module: 4):
  """{module: (A, B)} of the modules whose name has one of the words `select`."""
  rng = np.random.default_rng(0)
  return {m: tuple(rng.normal(size=s).astype(np.float32) for s in ((rank(m), i), (o, rank(m))))
          for m, (o, i) in SHAPES.items() if any(word in m for word in select)}


def adapter(folder, modules, **config):
  """A folder as PEFT writes it."""
  folder.mkdir(exist_ok=True)
  safetensors.numpy.save_file(
      {f"base_model.model.{m}.lora_{x}.weight": w for m, pair in modules.items()
       for x, w in zip("AB", pair)}, folder / peft.WEIGHTS)
  (folder / peft.CONFIG).write_text(json.dumps(
      {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", **config}))
  return folder


def merged(path):
  """{external name: weight} after the adapters of a folder are merged."""
  params = lora.merge(peft.load(MODEL, PARAMS, path))
  leaves = {n: peft.from_array(np.asarray(x))
            for n, x in zip(trees.names(params), jax.tree.leaves(params))}
  table = peft.paligemma_hf.param_map(MODEL.config)
  return {n: x.read(()) for n, x in peft.param_map.export_(table, leaves).items()}


def test_a_folder_without_an_adapter_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="is no folder of PEFT: there is no .*adapter_config"):
    peft.load(MODEL, PARAMS, tmp_path)


ALL = ("proj",)
RANKS = lambda m: 2 if "q_proj" in m else 4


@pytest.mark.parametrize("select, rank, config, scale", [
    (("q_proj", "v_proj"), None, {}, lambda m: 2),  # PEFT's default for Gemma
    (("gate_proj",), None, {}, lambda m: 2),
    (("layers.1.",), None, dict(layers_to_transform=[1], layers_pattern="layers"), lambda m: 2),
    (ALL, None, dict(use_rslora=True), lambda m: 4),
    (ALL, RANKS, dict(rank_pattern={"q_proj": 2}), lambda m: 4 if "q_proj" in m else 2),
    (ALL, RANKS, dict(rank_pattern={r"^.*\.q_proj": 2}, alpha_pattern={"layers.0.mlp.up_proj": 3}),
     lambda m: 4 if "q_proj" in m else .75 if "0.mlp.up" in m else 2),
    (ALL, None, dict(rank_pattern={"layers": 2}, init_lora_weights="eva", eva_config={"rho": 2},
                     trainable_token_indices=None, new_key=False), lambda m: 2)])
def test_adapters_are_as_merged_by_hand(select, rank, config, scale, tmp_path):
  modules = pairs(select, rank or (lambda m: 4))
  got = merged(adapter(tmp_path / "a", modules, **config))
  for name, base in BASE.items():
    module = name.removesuffix(".weight")
    a, b = modules.get(module, (0, 0))
    want = base + scale(module) * (b @ a) if module in modules else base
    np.testing.assert_allclose(got[name], want, rtol=0, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("key, value", [
    *(("init_lora_weights", v) for v in ("pissa", "pissa_niter_16", "olora", "corda", "loftq", 1)),
    ("use_dora", True), ("alora_invocation_tokens", [2, 3]), ("trainable_token_indices", [5]),
    ("modules_to_save", ["lm_head"]), ("bias", "all"), ("fan_in_fan_out", True),
    ("use_qalora", True), ("lora_bias", True), ("target_parameters", ["w"]), ("peft_type", "LOHA"),
    ("layer_replication", [[0, 2]]), ("a_key_of_tomorrow", 0), ("use_rslora", "yes"),
    *(("lora_alpha", v) for v in (float("nan"), float("inf"), None, 0, "8", True)),
    *(("r", v) for v in (0, None, 4.0, -1, True)), ("alpha_pattern", {"q_proj": None}),
    ("rank_pattern", {"(a+)+": 4}), ("rank_pattern", {"q_proj": 0}), ("rank_pattern", [4])])
def test_what_is_not_understood_is_refused_by_name(key, value, tmp_path):
  with pytest.raises(ValueError, match=f"{peft.CONFIG}: {key}"):
    peft.load(MODEL, PARAMS, adapter(tmp_path / "a", pairs(["q_proj"]), **{key: value}))


@pytest.mark.parametrize("change, message", [
    (lambda t: t.pop(next(n for n in t if "lora_B" in n)), "without .*lora_B"),
    (lambda t: t.update({n: x[:3] for n, x in t.items() if "lora_A" in n}), "its rank by .* is 4"),
    (lambda t: t.update({n: x[:, :5] for n, x in t.items() if "lora_A" in n}),
     "made for the base 'google/other'.*\n.*of another shape"),
    (lambda t: t.update({n: x * np.nan for n, x in t.items()}), "not finite"),
    (lambda t: t.update({n: x.astype(np.int8) for n, x in t.items()}), "not as a float"),
    (lambda t: t.update({"base_model.model.lm_head.weight": np.zeros((2, 2), np.float32)}),
     "lm_head.weight is unexpected"),
    (lambda t: t.clear(), "adapts no module")])
def test_damaged_tensors_are_named(change, message, tmp_path):
  folder = adapter(tmp_path / "a", pairs(["q_proj"]), base_model_name_or_path="google/other")
  tensors = safetensors.numpy.load_file(folder / peft.WEIGHTS)
  change(tensors)
  safetensors.numpy.save_file(tensors, folder / peft.WEIGHTS)
  with pytest.raises(ValueError, match=message):
    peft.load(MODEL, PARAMS, folder)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([peft.CONFIG, peft.WEIGHTS]), st.integers(0, 2**31), st.binary(max_size=4))
def test_mutated_folders_load_or_are_value_errors(tmp_path_factory, file, at, data):
  folder = adapter(tmp_path_factory.mktemp("f") / "a", pairs(["layers.0.self_attn.q_proj"]))
  whole = (folder / file).read_bytes()
  at %= min(len(whole), 400)  # of the weights, the header
  (folder / file).write_bytes(whole[:at] + data + whole[at + 1:])
  try:
    peft.load(MODEL, PARAMS, folder)
  except ValueError as e:
    assert str(folder) in str(e) and len(str(e)) < 3000
