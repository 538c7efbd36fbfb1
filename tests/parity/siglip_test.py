"""SigLIP's two towers beside transformers and KerasHub, which open what we write."""
import dataclasses
import pathlib

import jax
import numpy as np
import pytest
import sentencepiece

torch = pytest.importorskip("torch", reason="`make parity` runs these tests in their own venv")
transformers = pytest.importorskip("transformers")

from transformers.models.siglip.image_processing_pil_siglip import (  # noqa: E402
  SiglipImageProcessorPil,
)

from big_vlm import embedding, image_input  # noqa: E402
from big_vlm.checkpoints import hf, keras  # noqa: E402
from big_vlm.checkpoints.hf_test import tree  # noqa: E402
from big_vlm.families.siglip.towers_test import embed  # noqa: E402
from big_vlm.vlm import VLM, from_preset  # noqa: E402
from pp.tokenizer import train_sentencepiece  # noqa: E402

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
CLOSE = dict(rtol=0, atol=1e-4)
CLASSES = {"hf_siglip_pair": transformers.SiglipModel, "hf_siglip2": transformers.SiglipModel,
           "hf_siglip2_naflex": transformers.Siglip2Model}


def silent(done, total):
  pass


@pytest.mark.parametrize("name", CLASSES)
def test_transformers_opens_the_folder_and_gives_our_numbers(name, tmp_path):
  source, golden = hf.open_source(GOLDEN / name), np.load(GOLDEN / name / "pair.npz")
  hf.write(tmp_path, source, silent)
  model, info = CLASSES[name].from_pretrained(
      tmp_path, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
  assert {k: v for k, v in info.items() if v} == {}
  ids = np.random.default_rng(5).integers(2, 60, golden["ids"].shape).astype(np.int32)
  if "grid" in golden:
    image = golden["patches"], golden["grid"]
    mask = np.arange(image[0].shape[1]) < golden["grid"].prod(1)[:, None]
    inputs = dict(pixel_values=torch.tensor(image[0]), spatial_shapes=torch.tensor(image[1]),
                  pixel_attention_mask=torch.tensor(mask.astype(np.int32)))
  else:
    image = np.random.default_rng(6).uniform(-1, 1, golden["image"].shape).astype(np.float32), None
    inputs = dict(pixel_values=torch.tensor(image[0]).permute(0, 3, 1, 2))
  with torch.no_grad():
    out = model.eval()(input_ids=torch.tensor(ids), **inputs)
  zt, zi = map(np.asarray, embed(source.config, tree(source.leaves), ids, *image))
  np.testing.assert_allclose(zi, out.image_embeds.numpy(), **CLOSE)
  np.testing.assert_allclose(zt, out.text_embeds.numpy(), **CLOSE)


def test_kerashub_opens_the_preset_and_gives_our_logits(tmp_path):
  keras_hub = pytest.importorskip("keras_hub")
  source, golden = hf.open_source(GOLDEN / "hf_siglip2"), np.load(
      GOLDEN / "hf_siglip2" / "pair.npz")
  # KerasHub's files do not say how texts are padded, and only a vocabulary of 256,000 pads with 0.
  txt = dataclasses.replace(source.config.txt, pad_token=1)
  source = dataclasses.replace(source, config=dataclasses.replace(source.config, txt=txt))
  keras.write(tmp_path, source, silent)
  model = keras_hub.models.SigLIPBackbone.from_preset(str(tmp_path))
  with jax.numpy_rank_promotion("allow"):  # Keras' layers need it
    out = model({"images": golden["image"], "token_ids": golden["ids"]})
  np.testing.assert_allclose(np.asarray(out["vision_logits"]), golden["logits"], **CLOSE)


TEXTS = ["A Photo of a_cat.", "ÉTÉ à Paris, 2 dogs!", "  two   spaces\n", "fox 7 photo " * 20, ""]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_tokenizers_and_processors_of_our_folders(kind, tmp_path):
  """SigLIP's unigram model, which normalises, and SigLIP 2's BPE: rows of ids, and pixels."""
  corpus = [*TEXTS, *(f"a photo of the quick brown fox {i}" for i in range(300))]
  corpus += [text.lower() for text in corpus]
  if kind == "unigram":
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_prefix=str(tmp_path / "a"), vocab_size=120, pad_id=0,
        eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", minloglevel=2,
        hard_vocab_limit=False)
  else:
    train_sentencepiece(corpus, tmp_path / "a.model", 420, kind)
  spec, naflex = f"sp('{tmp_path / 'a.model'}')", kind == "bpe"
  txt = {"variant": "text_tiny", "length": 24, "pad_token": int(not naflex)}
  vlm = VLM.from_config({"img": {"variant": "tiny", "naflex": naflex}, "txt": txt}, spec)
  vlm.export(tmp_path / "w", "hf")
  assert from_preset(tmp_path / "w").embed(texts=TEXTS[:2]).shape == (2, 32)
  processor = transformers.AutoProcessor.from_pretrained(tmp_path / "w")
  theirs = processor.tokenizer(TEXTS, padding="max_length", truncation=True, max_length=24)
  spelling = "unicode" if naflex else "siglip_tokenizer"
  with pytest.warns(UserWarning, match="1 of 5 texts"):
    ours = embedding.token_rows(vlm.config, vlm.tokenizer, TEXTS, embedding.EmbedConfig(
        spelling=spelling))
  assert theirs["input_ids"] == [row.tolist() for row in ours]
  image = np.random.default_rng(0).integers(0, 256, (40, 28, 3)).astype(np.uint8)
  batch = processor.image_processor(images=image, return_tensors="np")
  if naflex:
    rows, grid = embedding.naflex_pixels(image, 8, embedding.EmbedConfig(
        "pil_bilinear", max_num_patches=4))
    assert processor.image_processor.max_num_patches == 4
    assert batch["spatial_shapes"].tolist() == [grid.tolist()]
    np.testing.assert_allclose(batch["pixel_values"][0], rows, atol=2 / 255)
  else:
    pixels = image_input.pixels(image, 16, "pil_bilinear") / 127.5 - 1
    np.testing.assert_allclose(batch["pixel_values"][0].transpose(1, 2, 0), pixels, atol=2 / 255)


def test_pixels_are_those_of_the_other_frameworks():
  image = np.random.default_rng(1).integers(0, 256, (50, 33, 3)).astype(np.uint8)
  processor = SiglipImageProcessorPil(size=dict(height=20, width=20))
  theirs = processor(images=image, return_tensors="np")
  ours = image_input.pixels(image, 20, "pil_bicubic") / 127.5 - 1
  np.testing.assert_allclose(theirs["pixel_values"][0].transpose(1, 2, 0), ours, atol=1e-6)
  keras_hub = pytest.importorskip("keras_hub")
  convert = keras_hub.layers.SigLIPImageConverter(
      image_size=(20, 20), scale=1 / 127.5, offset=-1, interpolation="bicubic", antialias=True,
      crop_to_aspect_ratio=False)
  with jax.numpy_rank_promotion("allow"):
    theirs = np.asarray(convert(image))
  np.testing.assert_allclose(theirs, image_input.pixels(image, 20, "keras_hub"), atol=1 / 255)
