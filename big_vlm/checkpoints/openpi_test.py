"""Checkpoints that openpi wrote (tests/golden/openpi): its numbers, and back into it."""
import pathlib
import shutil
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import big_vlm
from big_vlm.checkpoints import load, openpi
from big_vlm.checkpoints.checkpoint import Checkpoint
from big_vlm.families import paligemma, paligemma_hf, paligemma_openpi
from big_vlm.formats import orbax_tree, param_map
from big_vlm.formats.lazy_array import from_array
from tests import mutations
from tools import convert

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "openpi"
FOLDERS = {"pi0": "100", "pi0_lora": "100", "pi05": "", "fast": ""}
ASIDE = {"pi0": 18, "pi0_lora": 28, "pi05": 19, "fast": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """{name: folder of a checkpoint}."""
  root = tmp_path_factory.mktemp("openpi")
  for name in FOLDERS:
    zipfile.ZipFile(GOLDEN / f"{name}.zip").extractall(root / name)
  return {name: root / name / step for name, step in FOLDERS.items()}


def contents(leaves):
  return {name: (x.dtype, np.asarray(x.read(())).tobytes()) for name, x in leaves.items()}


@pytest.mark.parametrize("name", FOLDERS)
def test_logits_are_those_of_openpi(folders, name, mesh1, capsys):
  golden, vlm = np.load(GOLDEN / f"{name}.npz"), big_vlm.from_preset(folders[name], mesh=mesh1)
  got = vlm.logits(golden["tokens"], golden["images"], golden["mask_ar"])
  assert np.abs(golden["logits"]).max() > 10
  np.testing.assert_allclose(got, golden["logits"], rtol=0, atol=1e-4)  # noise: 2e-5
  printed = capsys.readouterr().out
  assert ("action_out_proj/kernel" in printed) == (name != "fast")
  assert len(load.open_source(folders[name]).aside) == ASIDE[name]


def test_answers_from_the_params_folder_itself(folders, mesh1):
  vlm = big_vlm.from_preset(folders["pi0"] / "params", mesh=mesh1)
  image = np.zeros((28, 28, 3), np.uint8)
  answers = vlm.generate([[2, 5, 6], [2, 7]], [image, [image] * 3], max_new_tokens=2, stop=())
  assert [len(a.tokens) for a in answers] == [2, 2] and vlm.tokenizer is None


@pytest.mark.parametrize("name", ["pi0", "pi05"])
def test_back_into_the_whole_bit_for_bit(folders, tmp_path, name):
  step = folders[name]
  convert.main([str(step), str(tmp_path / "same"), "--format", "openpi", "--into", str(step)])
  wanted, got = (contents(openpi.stored(f)) for f in (step, tmp_path / "same"))
  assert got == wanted
  stats = "assets/robot/norm_stats.json"
  assert not (step / stats).exists() or (
      (tmp_path / "same" / stats).read_bytes() == (step / stats).read_bytes())


def test_a_changed_paligemma_leaves_the_expert_as_it_is(folders, tmp_path):
  opened = load.open_source(folders["pi0_lora"])
  changed = {n: from_array(-np.asarray(x.read(()))) for n, x in opened.leaves.items()}
  source = Checkpoint("changed", opened.config, changed, None)
  openpi.write_into(tmp_path / "new", source, folders["pi0_lora"])
  new = load.open_source(tmp_path / "new")
  for name, leaf in new.leaves.items():  # merged; those that were bfloat16 are rounded to it
    np.testing.assert_allclose(leaf.read(()), changed[name].read(()), rtol=2**-7, err_msg=name)
  assert contents(new.aside) == contents(opened.aside)
  before, after = (openpi.stored(f) for f in (folders["pi0_lora"], tmp_path / "new"))
  assert {n: (x.dtype, x.shape) for n, x in after.items()} == {
      n: (x.dtype, x.shape) for n, x in before.items()}


def test_no_damage_of_an_adapter_changes_numbers(rng, capsys):
  weights = {"q_einsum/w": (2, 4, 8, 3), "q_einsum/lora_a": (2, 4, 8, 5),
             "q_einsum/lora_b": (2, 4, 5, 3), "linear": (2, 6, 8), "linear_lora_a": (2, 6, 5),
             "linear_lora_b": (2, 5, 8)}
  weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in weights.items()}
  merged = lambda arrays: {name: x.read(()) for name, x in paligemma_openpi.merge_lora(
      {name: from_array(x) for name, x in arrays.items()}, "F").items()}
  wanted = merged(weights)
  np.testing.assert_allclose(wanted["linear"], weights["linear"] + (
      weights["linear_lora_a"] @ weights["linear_lora_b"]), rtol=1e-5)

  def attempt(rng):
    arrays = dict(weights)
    name = list(arrays)[rng.integers(len(arrays))]
    x = arrays.pop(name)
    axis = rng.integers(x.ndim)
    changes = [name.replace("_a", "_b"), name.replace("lora_", ""), name + "s", x[0], x[None],
               x.take([0], axis), np.concatenate([x, x], axis), np.swapaxes(x, 0, -1), x[..., :0],
               np.zeros(()), x.astype("int8"), x.astype("complex64"), x > 0]
    change = changes[rng.integers(len(changes))]
    arrays |= {change: x} if isinstance(change, str) else {name: change}
    got = merged(arrays)
    assert all(np.array_equal(wanted.get(n, x), x) for n, x in got.items()), (name, change)
    return "same"
  done = mutations.attack(attempt, 300, capsys, "adapters")
  assert done["refused"] > 100


def test_a_start_for_openpi(folders, tmp_path, capsys):
  """Its loader keeps leaves by name, and fills what it does not find with random ones."""
  convert.main([str(folders["pi05"]), str(tmp_path / "pt_224.npz"), "--format", "openpi"])
  flat = dict(np.load(tmp_path / "pt_224.npz"))
  names = {n.removesuffix("/value") for n in openpi.stored(folders["pi05"])}
  inside = {f"params/PaliGemma/{n.removeprefix('params/')}" for n in flat}
  assert len(flat) == 32 and inside <= names and {x.dtype for x in flat.values()} == {
      np.dtype(np.float32)}
  assert "image_size 28, not 224" in capsys.readouterr().out


def test_paligemma_2_is_refused(tmp_path):
  config = paligemma.config({"variant": "tiny"}, {"variant": "tiny2", "window": None})
  leaves = {n: from_array(np.zeros(x.shape, np.float32))
            for n, x in paligemma.param_shapes(config).items()}
  with pytest.raises(ValueError, match="no post_norms, attn_softcap, final_softcap"):
    openpi.write(tmp_path / "x.npz", Checkpoint("x", config, leaves, None), print)


def torch_names(leaves, prefix, depth):
  """A pi0 as LeRobot stores it: {name: array}; the table is there as lm_head alone."""
  own, out = param_map.export_(paligemma_hf.param_map(TORCH_CONFIG, 0), leaves), {}
  for name, leaf in own.items():
    name = name.replace("language_model.model.", "model.language_model.").replace(
        "vision_tower.", "model.vision_tower.").replace(
        "multi_modal", "model.multi_modal").replace(
        "model.language_model.embed_tokens", "lm_head")
    out[f"{prefix}{paligemma_openpi.TORCH}{name}"] = np.ascontiguousarray(leaf.read(()))
  rng = np.random.default_rng(0)
  expert = paligemma_openpi._wanted("pi0", "torch", depth)
  return out | {prefix + n: rng.normal(size=(3, 2)).astype(ml_dtypes.bfloat16)
                for n in (*expert, paligemma_openpi.FILLER)}


TORCH_CONFIG = paligemma.config({"variant": "tiny"}, {"variant": "tiny"})


@pytest.fixture
def torch_folder(tmp_path):
  rng = np.random.default_rng(0)
  leaves = {n: from_array(rng.normal(size=x.shape).astype(np.float32))
            for n, x in paligemma.param_shapes(TORCH_CONFIG).items()}
  folder = tmp_path / "torch"
  folder.mkdir()
  safetensors.numpy.save_file(torch_names(leaves, "model.", 2), folder / "model.safetensors")
  safetensors.numpy.save_file({"x": np.ones(2)}, folder / "policy_preprocessor.safetensors")
  (folder / "config.json").write_text('{"type": "pi0", "paligemma_variant": "gemma_2b"}')
  return folder, leaves


def test_lerobot_both_ways(torch_folder, tmp_path):
  folder, leaves = torch_folder
  opened = load.open_source(folder)
  assert opened.config == TORCH_CONFIG and contents(opened.leaves) == contents(leaves)
  assert len(opened.aside) == 30
  convert.main([str(folder), str(tmp_path / "same"), "--format", "openpi", "--into", str(folder)])
  read = lambda f: {n: x.tobytes() for n, x in safetensors.numpy.load_file(f).items()}
  assert read(tmp_path / "same" / "model.safetensors") == read(folder / "model.safetensors")
  assert (tmp_path / "same" / "config.json").exists()
  assert (tmp_path / "same" / "policy_preprocessor.safetensors").exists()


def test_lerobot_with_a_piece_missing(torch_folder):
  folder, _ = torch_folder
  file = folder / "model.safetensors"
  tensors = safetensors.numpy.load_file(file)
  for name in ("state_proj.bias", "paligemma_with_expert.gemma_expert.model.norm.weight"):
    safetensors.numpy.save_file(
        {n: x for n, x in tensors.items() if n != f"model.{name}"}, file)
    with pytest.raises(ValueError, match=f"not a whole pi0(.|\n)*1 missing: {name}"):
      load.open_source(folder)
  head = "model.paligemma_with_expert.paligemma.lm_head.weight"
  other = tensors | {head.replace("lm_head", "model.language_model.embed_tokens"):
                     tensors[head] + 1}
  safetensors.numpy.save_file(other, file)
  with pytest.raises(ValueError, match="lm_head.weight differs from the embedding table"):
    load.open_source(folder)


def test_what_is_not_whole_is_named(folders, tmp_path):
  stored = openpi.stored(folders["fast"])
  rewrite = lambda name, leaves: orbax_tree.write_folder(tmp_path / name / "params", leaves)
  rewrite("more", stored | {"params/value_head/kernel": from_array(np.ones((2, 2), "f4"))})
  with pytest.raises(ValueError, match="not a whole pi0-FAST(.|\n)*unexpected: value_head/kernel"):
    load.open_source(tmp_path / "more")
  rewrite("less", {n: x for n, x in stored.items() if not n.endswith("mlp/linear")})
  with pytest.raises(ValueError, match="llm/layers/mlp/linear"):
    load.open_source(tmp_path / "less")
  rewrite("other", {"params/x/kernel": from_array(np.ones((2, 2), "f4"))})
  with pytest.raises(ValueError, match="not a checkpoint of openpi: nothing in it is below"):
    load.open_source(tmp_path / "other")
  with pytest.raises(ValueError, match="several steps of openpi .100.: give one"):
    load.open_source(folders["pi0"].parent)
  damaged = shutil.copytree(folders["pi0"], tmp_path / "damaged")
  (damaged / "params" / "manifest.ocdbt").write_bytes(b"x" * 40)
  with pytest.raises(ValueError, match="params is not a complete item of Orbax"):
    load.open_source(damaged)
