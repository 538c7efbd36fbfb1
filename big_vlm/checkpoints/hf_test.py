"""Folders that transformers wrote (tests/golden/hf_*): same numbers, same tokens, and back out."""
import dataclasses
import functools
import json
import pathlib
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest

from big_vlm.checkpoints import checkpoint, hf
from big_vlm.decode import session
from big_vlm.families import paligemma
from big_vlm.formats import safetensors
from pp import tokenizer_files
from pp.tokenizer import get_tokenizer

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden"
TEXT = ["hf_paligemma", "hf_paligemma_old", "hf_paligemma2", "hf_gemma", "hf_gemma_mha", "hf_opt",
        "hf_opt_350m", "hf_vaultgemma", "hf_gemma_bf16", "hf_gemma3"]
SIGLIP = ["hf_siglip", "hf_siglip_pair"]
ALL = [*TEXT, "hf_gemma2", *SIGLIP, "hf_siglip2", "hf_siglip2_naflex"]
CLOSE = dict(rtol=0, atol=5e-5)  # float32 noise is 2e-5 of logits up to 10; 1e-4 is promised


def quiet(done, total):
  pass


def tree(leaves):
  """Nested float32 parameters of {name: LazyArray}."""
  params = {}
  for name, leaf in leaves.items():
    *folders, last = name.split("/")
    functools.reduce(lambda d, k: d.setdefault(k, {}), folders, params)[last] = np.asarray(
        leaf.read(()), np.float32)
  return params


def logits(src, ids, prefix, image=None):
  """float32 [B, T, V] next-token logits; the first `prefix` ids see each other."""
  model = paligemma.PaliGemma(src.config)

  @jax.jit
  def forward(params, ids, mask_ar, image):
    hidden = model.apply({"params": params}, ids, mask_ar, image)
    return model.apply({"params": params}, hidden, method="logits")

  mask_ar = np.broadcast_to(np.arange(ids.shape[1]) >= max(prefix, 0), ids.shape).astype(np.int32)
  return np.asarray(forward(tree(src.leaves), ids, mask_ar, image))


def embedding(src, image):
  """float32 [B, D] with a pooling head, else [B, L, D]."""
  apply = jax.jit(functools.partial(paligemma.PaliGemma(src.config).apply, method="embed_image"))
  return np.asarray(apply({"params": tree(src.leaves)}, image))


def read(leaves):
  return {name: leaf.read(()) for name, leaf in leaves.items()}


def assert_same_leaves(got, wanted):
  assert set(got) == set(wanted)
  for name, leaf in wanted.items():
    a, b = got[name].read(()), leaf.read(())
    assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), name


@pytest.mark.parametrize("name", TEXT)
def test_logits_are_those_of_transformers(name):
  golden = np.load(GOLDEN / name / "golden.npz")
  got = logits(hf.open_source(GOLDEN / name), golden["ids"], int(golden["prefix"]),
               golden.get("image"))
  assert np.abs(golden["logits"]).max() > 1
  np.testing.assert_allclose(got, golden["logits"], **CLOSE)


@pytest.mark.parametrize("length", [5, 6, 7, 12])
def test_logits_around_the_sliding_window_of_6(length):
  golden = np.load(GOLDEN / "hf_gemma2" / f"golden_{length}.npz")
  src = hf.open_source(GOLDEN / "hf_gemma2")
  np.testing.assert_allclose(logits(src, golden["ids"], 0), golden["logits"], **CLOSE)
  if length > 6:  # else the window is not what is tested
    llm = dataclasses.replace(src.config.llm, window=None)
    wide = dataclasses.replace(src, config=dataclasses.replace(src.config, llm=llm))
    assert np.abs(logits(wide, golden["ids"], 0) - golden["logits"]).max() > 0.01


@pytest.mark.parametrize("name,file", [(n, "golden") for n in TEXT] + [("hf_gemma2", "golden_7")])
def test_greedy_tokens_are_those_of_transformers(name, file):
  golden, src = np.load(GOLDEN / name / f"{file}.npz"), hf.open_source(GOLDEN / name)
  prompt = golden["ids"][:, :golden["prompt"]]
  causal = src.config.img is None
  batch = {"text": prompt, "mask_ar": np.full_like(prompt, causal),
           "mask_input": np.ones_like(prompt)}
  if "image" in golden:
    batch["image"] = golden["image"]
  rows = len(prompt)
  decoding = session.GenerationSession(
      paligemma.PaliGemma(src.config), tree(src.leaves), None,
      session.GenerationConfig(max_new_tokens=20, stop=(), cache_dtype="float32"))
  answers = decoding.answers([session.Batch(
      rows, batch, np.full(rows, 20, np.int32), np.zeros(rows, np.uint32), new=20)])
  np.testing.assert_array_equal([g.tokens for g in answers], golden["greedy"])


@pytest.mark.parametrize("name", SIGLIP)
def test_siglip_embeds_images_as_transformers(name):
  golden, src = np.load(GOLDEN / name / "golden.npz"), hf.open_source(GOLDEN / name)
  assert src.config.img.pool == "map" and src.config.llm is None
  assert bool(src.config.txt) == (name == "hf_siglip_pair")
  np.testing.assert_allclose(embedding(src, golden["image"]), golden["pooled"], **CLOSE)
  tower = dataclasses.replace(src.config.img, pool="none")
  plain = dataclasses.replace(
      src, config=paligemma.PaliGemmaConfig(tower, None),
      leaves={n: x for n, x in src.leaves.items() if n.startswith("img/") and "MAPHead" not in n})
  np.testing.assert_allclose(embedding(plain, golden["image"]), golden["last_hidden"], **CLOSE)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("max_shard", [5_000_000_000, 50_000])
def test_written_and_read_again_every_bit_is_the_same(name, max_shard, tmp_path):
  src, seen = hf.open_source(GOLDEN / name), []
  hf.write(tmp_path / "w", src, lambda done, total: seen.append((done, total)), max_shard)
  again = hf.open_source(tmp_path / "w")
  assert again.config == src.config
  assert_same_leaves(again.leaves, src.leaves)
  assert seen[-1][0] == seen[-1][1] and seen == sorted(seen)
  assert len(list((tmp_path / "w").glob("*.safetensors"))) == 1 or max_shard == 50_000


@pytest.mark.parametrize("name", ["hf_paligemma", "hf_siglip"])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_stays_as_it_is(name, dtype, tmp_path):
  src = hf.open_source(GOLDEN / name)
  src = dataclasses.replace(src, leaves={
      n: checkpoint.from_array(x.read(()).astype(dtype)) for n, x in src.leaves.items()})
  hf.write(tmp_path, src, quiet)
  assert_same_leaves(hf.open_source(tmp_path).leaves, src.leaves)
  assert json.loads((tmp_path / "config.json").read_text())["dtype"] == np.dtype(dtype).name


def test_tensors_are_written_as_transformers_wrote_them(tmp_path):
  """Our folder holds, under hub names, the tensors that the model came with."""
  for name, kind in [("hf_paligemma2", "paligemma"), ("hf_gemma2", "gemma2"), ("hf_opt", "opt"),
                     ("hf_siglip", "siglip_vision_model"), ("hf_siglip_pair", "siglip"),
                     ("hf_siglip2_naflex", "siglip2")]:
    hf.write(tmp_path / name, hf.open_source(GOLDEN / name), quiet)
    wanted = hf.hub_spelling(safetensors.read_folder(GOLDEN / name), kind, "")
    got = safetensors.read_folder(tmp_path / name)
    assert set(got) == set(wanted)
    for n, leaf in wanted.items():
      a, b = got[n].read(()), leaf.read(())
      if n.endswith("embed_positions.weight"):  # padding rows
        a, b = a[2:], b[2:]
      if n.startswith("language_model.model.embed"):
        a, b = a[:150], b[:150]
        np.testing.assert_allclose(got[n].read((slice(150, None),))[-1], b.mean(0), atol=1e-6)
      np.testing.assert_array_equal(a, b)


def test_paligemma_gets_64_rows_from_the_image_token_on(tmp_path):
  hf.write(tmp_path, hf.open_source(GOLDEN / "hf_paligemma"), quiet)
  config = json.loads((tmp_path / "config.json").read_text())
  assert config["image_token_index"] == 150 and config["text_config"]["vocab_size"] == 214
  table = safetensors.read_folder(tmp_path)["language_model.model.embed_tokens.weight"]
  assert table.shape == (214, 32)


@pytest.mark.parametrize("kind,spellings", [
    ("paligemma", {
        "language_model.model.layers.0.x": ["model.language_model.layers.0.x",
                                            "language_model.layers.0.x",
                                            "language_model.model.layers.0.x"],
        "vision_tower.vision_model.embeddings.y": ["vision_tower.embeddings.y",
                                                   "model.vision_tower.vision_model.embeddings.y",
                                                   "model.vision_tower.embeddings.y"],
        "multi_modal_projector.linear.bias": ["model.multi_modal_projector.linear.bias"]}),
    ("gemma2", {"model.norm.weight": ["norm.weight", "model.norm.weight"]}),
    ("siglip_vision_model", {"vision_model.head.probe": ["head.probe", "vision_model.head.probe"]}),
    ("opt", {"model.decoder.x": ["decoder.x", "model.decoder.x"]}),
])
def test_all_spellings_lead_to_that_of_the_hub(kind, spellings):
  for hub, others in spellings.items():
    for name in others:
      assert list(hf.hub_spelling({name: None}, kind, "")) == [hub]


def test_tied_heads_and_buffers_are_left_out():
  ignored = ["lm_head.weight", "language_model.lm_head.weight",
             "vision_model.embeddings.position_ids", "text_model.embeddings.position_ids",
             "vision_tower.head.probe", "model.layers.0.self_attn.rotary_emb.inv_freq"]
  assert hf.hub_spelling(dict.fromkeys(ignored), "paligemma", "") == {}
  with pytest.raises(ValueError, match="norm.weight is there twice"):
    hf.hub_spelling({"norm.weight": 0, "model.norm.weight": 0}, "gemma", "F")


def test_the_tokenizer_goes_along(tmp_path, tokenizer):
  src, rows = hf.open_source(GOLDEN / "hf_gemma"), get_tokenizer(tokenizer).vocab_size
  assert src.tokenizer is None
  name, llm = "llm/embedder/input_embedding", src.config.llm
  table = checkpoint.from_array(np.resize(src.leaves[name].read(()), (rows, llm.width)))
  wide = dataclasses.replace(
      src, tokenizer=tokenizer, leaves=src.leaves | {name: table},
      config=dataclasses.replace(src.config, llm=dataclasses.replace(llm, vocab_size=rows)))
  hf.write(tmp_path / "wide", wide, quiet)
  again = hf.open_source(tmp_path / "wide")
  assert again.tokenizer == tokenizer_files.find(tmp_path / "wide")
  assert (tmp_path / "wide" / "tokenizer.json").exists()
  hf.write(tmp_path / "narrow", dataclasses.replace(src, tokenizer=tokenizer), quiet)
  with pytest.raises(ValueError, match=r"tokenizer.json has the piece .*, the model has 160 rows"):
    hf.open_source(tmp_path / "narrow")


# Errors.

@pytest.fixture
def folder(tmp_path):
  """A copy of hf_paligemma2 to be spoilt: 5 shards."""
  return pathlib.Path(shutil.copytree(GOLDEN / "hf_paligemma2", tmp_path / "spoilt"))


def test_a_file_cut_short_is_named_with_its_tensor(folder):
  file = folder / "model-00002-of-00005.safetensors"
  file.write_bytes(file.read_bytes()[:30_000])
  with pytest.raises(ValueError, match=r"model-00002-of-00005\.safetensors is cut short: '.*weight'"
                                       r" lies at bytes \d+ to \d+ of a file of 30000"):
    hf.open_source(folder)


def test_a_missing_shard_is_named(folder):
  (folder / "model-00003-of-00005.safetensors").unlink()
  with pytest.raises(FileNotFoundError, match="lacks 1 of the 5 files .*model-00003-of-00005"):
    hf.open_source(folder)


def test_a_missing_a_superfluous_and_a_misshaped_tensor_are_listed_at_once(tmp_path):
  tensors = read(safetensors.read_folder(GOLDEN / "hf_gemma"))
  del tensors["model.norm.weight"]
  tensors["model.layers.0.mlp.up_proj.weight"] = np.zeros((3, 32), np.float32)
  tensors["model.layers.0.mlp.bias"] = np.zeros(3, np.float32)
  shutil.copy(GOLDEN / "hf_gemma" / "config.json", tmp_path)
  safetensors.write_folder(tmp_path, {n: checkpoint.from_array(x) for n, x in tensors.items()})
  with pytest.raises(ValueError) as e:
    hf.open_source(tmp_path)
  for what in ["1 missing: model.norm.weight", "1 unexpected: model.layers.0.mlp.bias",
               "model.layers.0.mlp.up_proj.weight [3, 32], not [48, 32]"]:
    assert what in str(e.value)


@pytest.mark.parametrize("file,message", [
    ("adapter_config.json", "PEFT adapter.*merge_and_unload"),
    ("gemma-2b-Q4.gguf", "GGUF"),
    ("pytorch_model-00001-of-00002.bin", "pickle.*save_pretrained"),
])
def test_folders_of_other_kinds_say_what_they_are(tmp_path, file, message):
  (tmp_path / file).write_text("{}")
  assert hf.can_read(tmp_path)
  with pytest.raises(ValueError, match=message):
    hf.open_source(tmp_path)


def test_a_folder_without_config_a_single_file_and_8_bit_weights_are_refused(tmp_path):
  shutil.copy(GOLDEN / "hf_gemma" / "model.safetensors", tmp_path)
  with pytest.raises(FileNotFoundError, match="no config.json"):
    hf.open_source(tmp_path)
  with pytest.raises(ValueError, match="give the folder"):
    hf.open_source(tmp_path / "model.safetensors")
  tensors = safetensors.read_folder(GOLDEN / "hf_gemma")
  shutil.copy(GOLDEN / "hf_gemma" / "config.json", tmp_path)
  safetensors.write_folder(tmp_path, {
      n: checkpoint.from_array(x.read(()).astype(np.int8)) for n, x in tensors.items()})
  with pytest.raises(ValueError, match="29 not of floats .*embed_tokens.weight int8"):
    hf.open_source(tmp_path)


def test_can_read(tmp_path):
  assert all(hf.can_read(GOLDEN / name) for name in ALL)
  assert not hf.can_read(tmp_path) and not hf.can_read(tmp_path / "x.npz")
  (tmp_path / "config.json").write_text('{"registered_name": "keras_hub>GemmaBackbone"}')
  assert not hf.can_read(tmp_path)
