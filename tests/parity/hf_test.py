"""Live comparison with transformers: it opens the folders that we write and gives our numbers."""
import dataclasses
import pathlib

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="`make parity` runs these tests in their own venv")
transformers = pytest.importorskip("transformers")

from big_vlm.checkpoints import hf  # noqa: E402
from big_vlm.checkpoints.checkpoint import from_array  # noqa: E402
from big_vlm.checkpoints.hf_test import embedding, logits  # noqa: E402
from pp.tokenizer import get_tokenizer, train_sentencepiece  # noqa: E402

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
CLOSE = dict(rtol=0, atol=1e-4)
CLASSES = {
    "hf_paligemma": transformers.AutoModelForImageTextToText,
    "hf_paligemma2": transformers.AutoModelForImageTextToText,
    "hf_siglip": transformers.SiglipVisionModel,
    **dict.fromkeys(("hf_gemma", "hf_gemma_mha", "hf_gemma2", "hf_vaultgemma", "hf_opt",
                     "hf_gemma_bf16", "hf_gemma3"), transformers.AutoModelForCausalLM)}
TEXTS = ["detect cat ; dog<loc0001><loc1023><seg127>", "caption en\n", "héllo  wörld   zwei",
         "日本語 と 한국어 العربية", "12345 3.14\t\n\n x", "🦒 giraffe", " leading", "trailing ",
         ""]
IMAGE_TOKENS = 4


def reopened(name, folder, **kw):
  """(our Source, transformers' model of the folder that we wrote of it)."""
  source = hf.open_source(GOLDEN / name)
  hf.write(folder, source, lambda done, total: None, **kw)
  model, info = CLASSES[name].from_pretrained(
      folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
  assert {k: v for k, v in info.items() if v} == {}  # missing, unexpected, mismatched keys, errors
  return source, model.eval()


@pytest.mark.parametrize("max_shard", [5_000_000_000, 50_000])
@pytest.mark.parametrize("name", [n for n, c in CLASSES.items()
                                  if c is transformers.AutoModelForCausalLM])
def test_decoders(name, max_shard, tmp_path):
  source, model = reopened(name, tmp_path, max_shard=max_shard)
  ids = np.random.default_rng(0).integers(4, 128, (2, 17)).astype(np.int32)
  with torch.no_grad():
    wanted = model(torch.tensor(ids)).logits.numpy()
  np.testing.assert_allclose(logits(source, ids, 0), wanted, **CLOSE)


@pytest.mark.parametrize("max_shard", [5_000_000_000, 50_000])
@pytest.mark.parametrize("name", ["hf_paligemma", "hf_paligemma2"])
@pytest.mark.parametrize("prefix", [4, 9])
def test_paligemma(name, prefix, max_shard, tmp_path):
  source, model = reopened(name, tmp_path, max_shard=max_shard)
  rng = np.random.default_rng(1)
  ids = rng.integers(4, 150, (2, 9)).astype(np.int32)
  image = rng.uniform(-1, 1, (2, 14, 14, 3)).astype(np.float32)
  text = torch.tensor(np.pad(ids, ((0, 0), (IMAGE_TOKENS, 0)), constant_values=150))
  kinds = torch.zeros_like(text)
  kinds[:, IMAGE_TOKENS + prefix:] = 1
  with torch.no_grad():
    wanted = model(input_ids=text, attention_mask=torch.ones_like(text), token_type_ids=kinds,
                   pixel_values=torch.tensor(image).permute(0, 3, 1, 2)).logits.numpy()
  assert wanted.shape[-1] == 150 + 64
  got = logits(source, ids, prefix, image)
  np.testing.assert_allclose(got, wanted[:, IMAGE_TOKENS:, :150], **CLOSE)


def test_siglip(tmp_path):
  source, model = reopened("hf_siglip", tmp_path)
  image = np.random.default_rng(2).uniform(-1, 1, (3, 14, 14, 3)).astype(np.float32)
  with torch.no_grad():
    wanted = model(torch.tensor(image).permute(0, 3, 1, 2)).pooler_output.numpy()
  np.testing.assert_allclose(embedding(source, image), wanted, **CLOSE)


def test_siglip_without_pooling_head(tmp_path):
  source = hf.open_source(GOLDEN / "hf_siglip")
  tower = dataclasses.replace(source.config.img, pool="none")
  source = dataclasses.replace(
      source, config=dataclasses.replace(source.config, img=tower),
      leaves={n: x for n, x in source.leaves.items() if "MAPHead" not in n})
  hf.write(tmp_path, source, lambda done, total: None)
  model, info = transformers.SiglipVisionModel.from_pretrained(
      tmp_path, dtype=torch.float32, output_loading_info=True)
  assert not any(info.values())
  image = np.random.default_rng(3).uniform(-1, 1, (1, 14, 14, 3)).astype(np.float32)
  with torch.no_grad():
    wanted = model(torch.tensor(image).permute(0, 3, 1, 2)).last_hidden_state.numpy()
  np.testing.assert_allclose(embedding(source, image), wanted, **CLOSE)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_processor_and_tokenizer(kind, tmp_path):
  """AutoProcessor lays out an example as we do: <image>s, bos, prompt, newline, suffix, eos."""
  corpus = [*TEXTS, *(f"the quick brown fox jumps over the lazy dog {i}" for i in range(200))]
  train_sentencepiece(corpus, tmp_path / "a.model", 420, kind)
  spec = f"sp(model='{tmp_path / 'a.model'}', tokensets=('loc', 'seg'))"
  ours, source = get_tokenizer(spec), hf.open_source(GOLDEN / "hf_paligemma")
  leaves = dict(source.leaves)
  table = leaves["llm/embedder/input_embedding"]
  wide = np.zeros((ours.vocab_size, table.shape[1]), np.float32)
  leaves["llm/embedder/input_embedding"] = from_array(wide)
  llm = dataclasses.replace(source.config.llm, vocab_size=ours.vocab_size)
  hf.write(tmp_path / "w", dataclasses.replace(
      source, config=dataclasses.replace(source.config, llm=llm), leaves=leaves, tokenizer=spec),
      lambda done, total: None)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "w")
  for text in TEXTS:
    assert theirs(text, add_special_tokens=False)["input_ids"] == ours.to_int(text)
    assert theirs.decode(ours.to_int(text)) == text
  assert (theirs.pad_token_id, theirs.eos_token_id, theirs.bos_token_id) == (0, 1, 2)
  processor = transformers.AutoProcessor.from_pretrained(tmp_path / "w")
  image = np.random.default_rng(0).integers(0, 256, (14, 14, 3)).astype(np.uint8)
  batch = processor(images=image, text="<image>caption en", suffix="a cat", return_tensors="np")
  wanted = [*[ours.vocab_size] * IMAGE_TOKENS, *ours.to_int("caption en", bos=True),
            *ours.to_int("\n"), *ours.to_int("a cat", eos=True)]
  assert batch["input_ids"].tolist() == [wanted]
  pixels = batch["pixel_values"][0].transpose(1, 2, 0)
  np.testing.assert_allclose(pixels, image / 127.5 - 1, atol=1e-6)
  model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "w")
  assert model.config.image_token_id == processor.image_token_id == ours.vocab_size


def test_opt_tokenizer(tmp_path):
  pieces = ["<s>", "<pad>", "</s>", "<unk>", *"abcĠ", "ab", "abc", "Ġa"]
  (tmp_path / "vocab.json").write_text(
      "{" + ", ".join(f'"{p}": {i}' for i, p in enumerate(pieces)) + "}")
  (tmp_path / "merges.txt").write_text("#version: 0.2\na b\nab c\nĠ a\n")
  spec = f"bpe(vocab='{tmp_path / 'vocab.json'}', merges='{tmp_path / 'merges.txt'}')"
  source = dataclasses.replace(hf.open_source(GOLDEN / "hf_opt"), tokenizer=spec)
  hf.write(tmp_path / "w", source, lambda done, total: None)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "w")
  for text in ["abc", "ab abc a", "cab"]:
    assert theirs(text)["input_ids"] == get_tokenizer(spec).to_int(text, bos=True)
