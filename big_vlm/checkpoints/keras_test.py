import json
import pathlib
import shutil

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import trees
from big_vlm.checkpoints import checkpoint, keras
from big_vlm.families import gemma, gemma3, opt, paligemma
from big_vlm.families import siglip as vit
from big_vlm.formats import h5
from pp import tokenizer_files
from pp.tokenizer import get_tokenizer

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden"  # of tests/golden/make_keras.py
DECODERS = ["paligemma", "paligemma2", "gemma", "gemma2", "gemma3", "opt"]
TOWERS = ["siglip_vision", "siglip"]
silent = lambda done, total: None


def preset(name):
  return GOLDEN / f"keras_{name}"


def golden(name):
  return dict(np.load(preset(name) / "golden.npz"))


def nested(leaves):
  """{"llm/final_norm/scale": LazyArray} -> {"llm": {"final_norm": {"scale": float32 array}}}."""
  return trees.nested({n: jnp.asarray(x.read(()), jnp.float32) for n, x in leaves.items()})


def logits_of(opened):
  """(ids [B, L], mask_ar, valid, image) -> logits [B, L, V] of a Checkpoint, compiled once."""
  model, params = paligemma.PaliGemma(opened.config), {"params": nested(opened.leaves)}

  @jax.jit
  def run(ids, mask_ar, valid, image):
    hidden = model.apply(params, ids, mask_ar, image, valid)
    return model.apply(params, hidden, method="logits")
  return run


@pytest.mark.parametrize("name", DECODERS)
def test_kerashubs_logits_and_greedy_tokens(name):
  opened, want = keras.open_source(preset(name)), golden(name)
  run = logits_of(opened)
  causal = opened.config.img is None
  mask_ar = np.ones_like(want["ids"]) if causal else want["response"]
  got = run(want["ids"], mask_ar, want["padding"], want.get("image"))
  real = want["padding"].astype(bool)
  np.testing.assert_allclose(got[real], want["logits"][real], atol=5e-5, rtol=0)
  assert np.abs(want["logits"][real]).max() > 2  # or the tolerance says nothing

  prompt, steps = want["prompt"], len(want["greedy"])
  ids = np.zeros((1, len(prompt) + steps), np.int32)
  ids[0, :len(prompt)] = prompt
  position = np.arange(ids.shape[1])[None]
  mask_ar = np.ones_like(ids) if causal else (position >= len(prompt)).astype(np.int32)
  image = None if causal else want["image"][:1]
  for at in range(len(prompt), ids.shape[1]):
    ids[0, at] = np.argmax(run(ids, mask_ar, position < at, image)[0, at - 1])
  np.testing.assert_array_equal(ids[0, len(prompt):], want["greedy"])


@pytest.mark.parametrize("name", TOWERS)
def test_kerashubs_pooled_image_features(name):
  opened, want = keras.open_source(preset(name)), golden(name)
  assert opened.config.llm is None and opened.tokenizer is None
  model = paligemma.PaliGemma(opened.config)
  got = jax.jit(lambda p, x: model.apply({"params": p}, x, method="embed_image"))(
      nested(opened.leaves), want["image"])
  # Float32 sums in another order: 5.7e-5 apart on a CPU with AMX, where the largest entry is 16.7.
  np.testing.assert_allclose(got, want["logits"], atol=5e-6 * np.abs(want["logits"]).max(), rtol=0)


@pytest.mark.parametrize("name", DECODERS + TOWERS)
@pytest.mark.parametrize("max_shard", [h5.MAX_SHARD, 40_000])
def test_written_and_read_again_it_is_the_same(name, max_shard, tmp_path):
  first, notes = keras.open_source(preset(name)), []
  keras.write(tmp_path, first, lambda *done: notes.append(done), max_shard)
  again = keras.open_source(tmp_path)
  assert again.config == first.config
  assert again.leaves.keys() == first.leaves.keys()
  for key, leaf in first.leaves.items():
    assert again.leaves[key].dtype == leaf.dtype
    np.testing.assert_array_equal(again.leaves[key].read(()), leaf.read(()))
  assert notes[-1][0] == notes[-1][1] and len(notes) > 1
  assert sorted(notes) == notes
  assert (tmp_path / "model.weights.json").exists() == (max_shard == 40_000)
  external, ours = h5.read_folder(preset(name)), h5.read_folder(tmp_path)
  assert {n: (x.shape, x.dtype) for n, x in ours.items()} == {
      n: (x.shape, x.dtype) for n, x in external.items()}
  assert all((ours[n].read(()) == external[n].read(())).all() for n in external)


@pytest.mark.parametrize("name", ["paligemma", "gemma", "opt", "siglip_vision"])
def test_json_files_have_the_form_of_kerashubs(name, tmp_path):
  keras.write(tmp_path, keras.open_source(preset(name)), silent)
  files = lambda folder: {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
  assert files(tmp_path) == files(preset(name)) - {"golden.npz"}
  free = {  # what we choose otherwise, or a date
      "antialias", "crop_to_aspect_ratio", "sequence_length", "dropout", "date_saved"}

  def fixed(x):
    return ({k: fixed(v) for k, v in x.items() if k not in free} if isinstance(x, dict) else x)

  for file in preset(name).glob("*.json"):
    ours, external = json.loads((tmp_path / file.name).read_text()), json.loads(file.read_text())
    if name == "opt":  # KerasHub sets the order by chance
      for x in (ours, external):
        _sort_lists(x)
    assert fixed(ours) == fixed(external), file.name


def _sort_lists(x):
  for k, v in x.items():
    if k == "unsplittable_tokens":
      v.sort()
    elif isinstance(v, dict):
      _sort_lists(v)


@pytest.mark.parametrize("name,text,pieces", [
    ("paligemma", "detect the cat<loc0012>\n", ["<loc0012>", "\n"]), ("gemma", "the dog", []),
    ("opt", "the cat", ["the", "Ġcat"])])
def test_the_tokenizer_travels(name, text, pieces, tmp_path):
  first = keras.open_source(preset(name))
  keras.write(tmp_path, first, silent)
  again = keras.open_source(tmp_path)
  assert str(tmp_path) in again.tokenizer
  before, after = get_tokenizer(first.tokenizer), get_tokenizer(again.tokenizer)
  ids = before.to_int(text, bos=True, eos=True)
  assert after.to_int(text, bos=True, eos=True) == ids
  assert after.vocab_size == before.vocab_size <= again.config.llm.vocab_size
  assert [after.piece(i) for i in ids if after.piece(i) in pieces] == pieces


def test_byte_level_bpe_from_a_tokenizer_json(tmp_path):
  folder = GOLDEN / "tokenizers" / "opt"
  opened = keras.open_source(preset("opt"))
  hf = checkpoint.Checkpoint("x", opened.config, opened.leaves,
                             f"hf(file='{folder}/tokenizer.json')")
  keras.write(tmp_path, hf, silent)
  text = "The quick brown fox"
  assert (get_tokenizer(tokenizer_files.find(tmp_path)).to_int(text)
          == get_tokenizer(hf.tokenizer).to_int(text))
  with pytest.raises(ValueError, match="700 pieces, .* the model has 39 rows"):
    keras.open_source(tmp_path)


def test_without_a_tokenizer_the_backbone_is_written(tmp_path):
  keras.write(tmp_path, keras.open_source(preset("paligemma2")), silent)
  assert sorted(p.name for p in tmp_path.iterdir()) == [
      "config.json", "image_converter.json", "metadata.json", "model.weights.h5"]
  assert keras.open_source(tmp_path).tokenizer is None


def test_a_part_is_read_alone():
  leaf = keras.open_source(preset("paligemma")).leaves["llm/layers/attn/kv_einsum/w"]
  whole = leaf.read(())
  assert whole.shape == leaf.shape == (2, 2, 1, 32, 12)
  np.testing.assert_array_equal(leaf.read((1, 0)), whole[1, 0])
  np.testing.assert_array_equal(leaf.read((slice(1, 2), slice(None), 0, slice(4, 8))),
                                whole[1:2, :, 0, 4:8])


# --- configs

GEMMA = dict(vocabulary_size=256, num_layers=2, num_query_heads=4, num_key_value_heads=1,
             hidden_dim=32, intermediate_dim=96, head_dim=16)
TOWER = dict(image_size=28, vit_patch_size=14, vit_num_heads=2, vit_hidden_dim=24,
             vit_num_layers=2)


def read_config(cls, config, root="keras_hub"):
  described = {"registered_name": f"{root}>{cls}", "config": config}
  return keras.import_config(described, "F/config.json")


def test_an_old_config_has_defaults():
  llm = gemma.GemmaConfig(width=32, depth=2, mlp=48, heads=4, kv_heads=1, head_dim=16,
                          vocab_size=256)
  img = vit.ViTConfig(width=24, depth=2, mlp=4304, heads=2, patch=14, image_size=28, out_width=32)
  assert read_config("GemmaBackbone", GEMMA, "keras_nlp").llm == llm
  assert read_config("PaliGemmaBackbone", GEMMA | TOWER | {"vit_intermediate_dim": None}
                     ) == paligemma.PaliGemmaConfig(img, llm)


def test_gemma_2_text_has_a_window_and_pali_gemma_2_none():
  window = dict(use_sliding_window_attention=True, sliding_window_size=7)
  assert read_config("GemmaBackbone", GEMMA | window).llm.window == 7
  assert read_config("GemmaBackbone", GEMMA | {"sliding_window_size": 7}).llm.window is None
  assert read_config("PaliGemmaBackbone", GEMMA | TOWER | window).llm.window is None


def test_the_query_scale_of_27b():
  llm = read_config("GemmaBackbone", GEMMA | {"query_head_dim_normalize": False}).llm
  assert llm.query_scale == 8**-0.5  # 32 wide, 4 heads; head_dim would give 16**-0.5


@pytest.mark.parametrize("img,llm", [
    *((None, row) for row in gemma.VARIANTS.values()),
    *((None, row) for name, row in opt.VARIANTS.items() if name != "opt_350m"),
    *((None, row) for name, row in gemma3.VARIANTS.items() if name != "gemma3_tiny"),
    (vit.config("So400m/14", image_size=384, pool="map"), None)])
def test_every_variant_there_and_back(img, llm):
  config = paligemma.PaliGemmaConfig(img, llm)
  there = json.loads(json.dumps(keras.export_config(config, "bfloat16")))
  assert keras.import_config(there, "F") == config


@pytest.mark.parametrize("cls,change,message", [
    ("Gemma4Backbone", {}, r"class 'Gemma4Backbone', which is not supported\. Did you mean "
                           r"'GemmaBackbone'\? Known: .*OPTBackbone"),
    ("Gemma3Backbone", {"vision_encoder": {}}, "vision_encoder is {}; only None is supported"),
    ("GemmaBackbone", {"use_post_ffw_norm": True}, "both norms or neither"),
    ("GemmaBackbone", {"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon is 1e-05; only 1e-06"),
    ("GemmaBackbone", {"dtype": {"class_name": "QuantizedDTypePolicy", "config": {
        "name": "int8_from_float32"}}}, "weights are quantized"),
    ("GemmaBackbone", {"dtype": {"class_name": "DTypePolicyMap", "config": {}}}, "quantized"),
    ("PaliGemmaBackbone", TOWER | {"vit_pooling": "map"}, "vit_pooling is 'map'; only None"),
    ("PaliGemmaBackbone", {}, "PaliGemmaBackbone has no 'vit_hidden_dim'"),
    ("SigLIPVisionEncoder", {"image_shape": [16, 32, 3]}, "only square images"),
    ("SigLIPBackbone", {"vision_encoder": {"registered_name": "keras_hub>ViTBackbone"}},
     "class 'ViTBackbone', not SigLIPVisionEncoder"),
])
def test_a_config_that_cannot_be_met_is_refused(cls, change, message):
  with pytest.raises(ValueError, match=f"F/config.json.*{message}"):
    read_config(cls, change if cls.startswith("SigLIP") else GEMMA | change)


@pytest.mark.parametrize("img,llm,message", [
    (vit.VARIANTS["tiny"], opt.VARIANTS["opt_tiny"], "with an OPT decoder"),
    (vit.VARIANTS["tiny"], gemma.VARIANTS["tiny"], "no head of the decoder's width"),
    (vit.VARIANTS["tiny"], None, "without its pooling head"),
    (None, gemma.config("tiny", query_scale=0.3), "query scale 0.3"),
    (None, opt.VARIANTS["opt_350m"], "projects its embeddings, as OPT-350m"),
    (vit.config("tiny", out_width=32),
     gemma.config("tiny2", sliding_window_mode="prefix_bidirectional"),
     "the sliding window mode 'prefix_bidirectional'"),
])
def test_a_model_without_a_kerashub_class_is_not_written(img, llm, message, tmp_path):
  config = paligemma.PaliGemmaConfig(img, llm)
  leaves = {"x": checkpoint.from_array(np.zeros(1, np.float32))}
  with pytest.raises(ValueError, match=f"KerasHub has no class for .*{message}.*native"):
    keras.write(tmp_path, checkpoint.Checkpoint("S", config, leaves, None), silent)
  assert not list(tmp_path.iterdir())


def test_a_source_that_lacks_a_leaf_is_not_written(tmp_path):
  opened = keras.open_source(preset("gemma"))
  del opened.leaves["llm/final_norm/scale"]
  with pytest.raises(ValueError, match="keras_gemma does not fit.*\n.*1 missing: llm/final_norm"):
    keras.write(tmp_path, opened, silent)
  assert not list(tmp_path.iterdir())


# --- corrupt presets

@pytest.fixture
def copy(tmp_path):
  """A function name -> copy of that preset, to be spoilt."""
  return lambda name: pathlib.Path(shutil.copytree(preset(name), tmp_path / name))


def test_can_read(copy, tmp_path):
  assert keras.can_read(preset("gemma"))
  folder = copy("gemma")
  (folder / "config.json").write_text('{"model_type": "gemma"}')  # of Hugging Face
  assert not keras.can_read(folder)
  (folder / "config.json").unlink()
  assert keras.can_read(folder)  # to say what is missing
  with pytest.raises(FileNotFoundError, match="gemma holds weights but no config.json"):
    keras.open_source(folder)
  assert not keras.can_read(tmp_path) and not keras.can_read(preset("gemma") / "config.json")


@pytest.mark.parametrize("text,message", [
    ('{"registered_name": "keras_hub>GemmaBackbone",\n "config": {',
     "line 2, column 13: not valid JSON"),
    ('{"registered_name": "keras_hub>GemmaBackbone"}', "no object 'config'"), ("[]", "no object")])
def test_a_broken_config(copy, text, message):
  folder = copy("gemma")
  (folder / "config.json").write_text(text)
  with pytest.raises(ValueError, match=f"gemma/config.json.*{message}"):
    keras.open_source(folder)


def test_missing_and_unexpected_datasets_are_all_named(copy):
  folder = copy("gemma")
  with h5py.File(folder / "model.weights.h5", "a") as f:
    del f["layers/rms_normalization"]
    f["layers/gemma_decoder_block_1/ffw_linear/vars/1"] = np.zeros(3)
    del f["layers/reversible_embedding/vars/0"]
    f["layers/reversible_embedding/vars/0"] = np.zeros((89, 32), np.float32)
  with pytest.raises(ValueError, match=(
      r"gemma does not fit the model.\n  1 missing: layers/rms_normalization/vars/0\n"
      r"  1 unexpected: layers/gemma_decoder_block_1/ffw_linear/vars/1\n"
      r"  1 of another shape: layers/reversible_embedding/vars/0 \[89, 32\], not \[90, 32\]")):
    keras.open_source(folder)


def test_states_of_random_generators_are_left_out(copy):
  folder = copy("opt")
  with h5py.File(folder / "model.weights.h5", "a") as f:
    f["layers/transformer_decoder/_feedforward_dropout/seed_generator/vars/0"] = np.zeros(2)
  assert keras.open_source(folder).leaves.keys() == keras.open_source(preset("opt")).leaves.keys()
