"""VLM.embed, similarity and classify of tiny models: transformers' numbers, what they refuse."""
import dataclasses
import functools
import warnings

import jax
import numpy as np
import pytest
from PIL import Image

import big_vlm
from big_vlm import embedding, sharding
from big_vlm.checkpoints.hf_test import GOLDEN
from big_vlm.vlm import VLM
from pp.tokenizer import get_tokenizer

LABELS = ["three", "seven", "eight"]


@functools.cache
def load(name):
  return big_vlm.from_preset(GOLDEN / name)


@pytest.fixture(scope="module")
def siglip(tokenizer, mesh1):
  towers = {"img": {"variant": "tiny"}, "txt": {"variant": "text_tiny", "length": 16}}
  return VLM.from_config(towers, tokenizer, mesh=mesh1)


@pytest.fixture
def images(rng):
  return [rng.integers(0, 256, (size, 20, 3)).astype(np.uint8) for size in (16, 30, 9)]


@pytest.mark.parametrize("name", ["hf_siglip_pair", "hf_siglip2"])
def test_token_ids_and_pixels_give_the_logits_of_transformers(name):
  golden, vlm = np.load(GOLDEN / name / "pair.npz"), load(name)
  ids = [row[:np.argmax(row == 1) + 1].tolist() for row in golden["ids"]]  # up to the eos
  if name == "hf_siglip_pair":  # which pads with the eos; the golden has 0
    ids = golden["ids"].tolist()
  np.testing.assert_allclose(vlm.embed(golden["image"]), golden["image_embeds"], atol=1e-5)
  np.testing.assert_allclose(vlm.embed(texts=ids), golden["text_embeds"], atol=1e-5)
  logits = vlm.similarity(golden["image"], ids)
  np.testing.assert_allclose(logits, golden["logits"], atol=1e-5)
  assert logits.dtype == np.float32
  np.testing.assert_allclose(vlm.similarity(golden["image"], ids, probabilities=True),
                             1 / (1 + np.exp(-golden["logits"])), atol=1e-6)


def test_naflex_images_of_any_shape_as_transformers_sees_them():
  golden, vlm = np.load(GOLDEN / "hf_siglip2_naflex" / "pair.npz"), load("hf_siglip2_naflex")
  images = [golden[f"pixels_{i}"] for i in range(3)]
  config = embedding.EmbedConfig("pil_bilinear", max_num_patches=24)
  for image, patches, grid in zip(images, golden["patches"], golden["grid"]):
    found = embedding.naflex_pixels(image, 4, config)
    assert found[1].tolist() == grid.tolist()
    np.testing.assert_allclose(found[0], patches, atol=1e-6)
  found = vlm.embed(images, resize="pil_bilinear", max_num_patches=24)
  np.testing.assert_allclose(found, golden["image_embeds"], atol=1e-5)
  alone = vlm.embed(images[1], resize="pil_bilinear", max_num_patches=24)
  np.testing.assert_allclose(alone[0], found[1], atol=1e-6)
  near = vlm.embed(images, max_num_patches=24)  # big_vision's: float, at most 1 of 255 apart
  assert 0 < np.abs(near - found).max() < 0.02


def test_the_batch_changes_no_vector(siglip, images):
  texts = ["three digits", "ocr", "seven"]
  vectors, of_texts = siglip.embed(images), siglip.embed(texts=texts)
  assert vectors.shape == of_texts.shape == (3, 32) and vectors.dtype == np.float32
  np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
  for index in ([2], [1, 1, 0, 2, 0]):
    np.testing.assert_allclose(siglip.embed(iter([images[i] for i in index])), vectors[index],
                               atol=1e-6)
    np.testing.assert_allclose(siglip.embed(texts=[texts[i] for i in index]), of_texts[index],
                               atol=1e-6)


def test_more_than_a_batch(siglip, images, monkeypatch):
  monkeypatch.setattr(embedding, "MAX_PROMPTS", 2)
  many = images + images[::-1]
  np.testing.assert_allclose(siglip.embed(many)[3:], siglip.embed(images)[::-1], atol=1e-6)


def test_images_as_users_have_them(siglip, images, tmp_path):
  Image.fromarray(images[0]).save(tmp_path / "a.png")
  want = siglip.embed(images[0])
  assert want.shape == (1, 32)
  for image in (tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes(),
                Image.fromarray(images[0]), images[0][None]):
    np.testing.assert_array_equal(siglip.embed(image), want)


def test_texts_are_rows_of_pieces_eos_and_padding(siglip, tokenizer):
  tok, options = get_tokenizer(tokenizer), embedding.EmbedConfig()
  row = lambda text, **kw: embedding.token_rows(siglip.config, tok, [text], embedding.EmbedConfig(
      **kw))[0].tolist()
  eos, pad = tok.eos_token, siglip.config.txt.pad_token
  assert row("ocr") == (tok.to_int("ocr") + [eos] + [pad] * 16)[:16]
  assert row("OCR") == row("ocr") != row("OCR", spelling="as_is")
  assert row("É") != row("é") and row("É", spelling="unicode") == row("é")
  assert row("") == [eos] + [pad] * 15
  assert row([5, 6]) == [5, 6] + [pad] * 14  # as they are
  with pytest.warns(UserWarning, match="1 of 2 texts have more than the 16 tokens"):
    long, _ = embedding.token_rows(siglip.config, tok, ["ocr " * 9, "a"], options)
  assert long.tolist() == tok.to_int("ocr " * 9)[:15] + [eos]


def test_resizes_are_those_of_the_reference(siglip, images):
  other = {resize: siglip.embed(images[1], resize=resize)[0] for resize in (
      "antialias", "big_vision", "naflex", "pil_bilinear", "pil_bicubic", "keras_hub")}
  np.testing.assert_array_equal(siglip.embed(images[1])[0], other["big_vision"])
  assert len({x.tobytes() for x in other.values()}) == 6
  want = np.asarray(Image.fromarray(images[1]).resize((16, 16), Image.Resampling.BICUBIC))
  np.testing.assert_array_equal(siglip.embed(want)[0], other["pil_bicubic"])
  np.testing.assert_array_equal(siglip.embed(siglip.preprocess(images[1]))[0], other["big_vision"])


def test_classify(siglip, images):
  found = siglip.classify(images, LABELS, ["a photo of {}.", "{}"])
  assert [c.label for c in found] == [LABELS[c.index] for c in found]
  texts = siglip.embed(texts=[t for name in LABELS for t in (f"a photo of {name}", name)])
  means = texts.reshape(3, 2, -1).mean(1)
  means /= np.linalg.norm(means, axis=1, keepdims=True)
  scale, bias = np.exp(siglip.params["t"]), np.asarray(siglip.params["b"])
  want = siglip.embed(images) @ means.T * scale + bias
  for c, row in zip(found, want):
    np.testing.assert_allclose(c.logits, row, atol=1e-4)
    assert c.index == np.argmax(row) and 0 < c.probabilities.min() <= c.probabilities.max() < 1
  one, = siglip.classify(images[0], LABELS)
  np.testing.assert_allclose(one.logits, siglip.similarity(images[0], LABELS)[0], atol=1e-5)


def test_a_paligemma_gives_the_mean_of_its_image_features(vlm, images):
  pixels = np.stack([vlm.preprocess(image) for image in images])
  mean = np.asarray(vlm.image_features(pixels)).mean(1)
  want = mean / np.linalg.norm(mean, axis=1, keepdims=True)
  np.testing.assert_allclose(vlm.embed(images), want, atol=1e-6)
  with pytest.raises(ValueError, match="PaliGemma.*no text tower: only images"):
    vlm.embed(texts="a")
  with pytest.raises(ValueError, match="takes SigLIP's two towers"):
    vlm.classify(images, LABELS)


def test_one_tower_alone(mesh1, images):
  tower = VLM.from_config({"img": {"variant": "tiny", "pool": "map"}}, mesh=mesh1)
  assert tower.embed(images).shape == (3, 32)
  text = VLM.from_config({"txt": {"variant": "text_tiny"}}, mesh=mesh1)
  assert text.embed(texts=[5, 6, 1]).shape == (1, 32)
  with pytest.raises(ValueError, match="has no image tower: embed.texts"):
    text.embed(images)
  with pytest.raises(ValueError, match="came without a tokenizer"):
    text.embed(texts="a cat")


@pytest.mark.parametrize("call, words", [
    (lambda v, i: v.embed(), "nothing to embed"), (lambda v, i: v.embed([]), "There are 0 images"),
    (lambda v, i: v.embed(iter([])), "There are 0 images"),
    (lambda v, i: v.embed(i, "a"), "images or texts"),
    (lambda v, i: v.embed([i[0], None]), "Image 1 is None"),
    (lambda v, i: v.embed([[i[0]]]), "Image 0 is a list"),
    (lambda v, i: v.embed(texts=[]), "There are 0 texts"),
    (lambda v, i: v.embed(texts=["a", []]), "Text 1 has no tokens"),
    (lambda v, i: v.embed(texts=[[1, 9999]]), "Text 0 has the token id 9999"),
    (lambda v, i: v.embed(texts=[1.5]), "A text is a string or a flat list"),
    (lambda v, i: v.embed(i, resize="bicubic"), "Unknown resize 'bicubic'"),
    (lambda v, i: v.embed(texts="a", spelling="lower"), "Unknown spelling of texts"),
    (lambda v, i: v.embed(i, max_num_patches=0), "max_num_patches=0"),
    (lambda v, i: v.embed(np.zeros((9, 9, 3), np.float32), resize="pil_bicubic"), "resizes uint8"),
    (lambda v, i: v.classify(i, ["cat", "a dog", "Cat."]), "'cat' and 'Cat.' read the same"),
    (lambda v, i: v.classify(i, []), "labels are a list of one or more"),
    (lambda v, i: v.classify(i, "cat"), "labels are 'cat'"),
    (lambda v, i: v.classify(i, ["cat", "..."]), "'...' has no letters"),
    (lambda v, i: v.classify(i, ["cat"], "a photo"), "template 'a photo' does not have"),
    (lambda v, i: v.similarity([], "a"), "There are 0 images"),
    (lambda v, i: v.generate("a", i[0]), "SigLIP, without a decoder.*vlm.embed"),
    (lambda v, i: v.score("a", "b", i[0]), "SigLIP, without a decoder.*vlm.embed"),
    (lambda v, i: v.fit([{"image": i[0], "prefix": "a", "suffix": "b"}]), "without a decoder"),
    (lambda v, i: v.with_lora(), "has no decoder, whose projections"),
])
def test_one_clear_error(siglip, images, call, words):
  with pytest.raises((ValueError, OSError), match=words):
    call(siglip, images)


def test_written_and_loaded_it_embeds_the_same(siglip, images, tmp_path):
  for format in ("native", "hf", "npz"):
    path = tmp_path / (format + ".npz" * (format == "npz"))
    siglip.export(path, format)
    again = big_vlm.from_preset(path, mesh=siglip.mesh)
    assert again.tokenizer and again.text_len in (16, None)
    np.testing.assert_array_equal(again.embed(images), siglip.embed(images))
    np.testing.assert_array_equal(again.embed(texts=LABELS), siglip.embed(texts=LABELS))


def test_quantized_vectors_are_near(siglip, images):
  near = siglip.quantize("int8").embed(images)
  assert 0.999 < np.sum(near * siglip.embed(images), axis=1).min() < 1.0001


def test_no_warning_for_texts_that_fit(siglip):
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    siglip.embed(texts=["a", "ocr"])


def test_devices_share_a_batch(siglip, images):
  mesh = sharding.make_mesh()
  params = jax.device_put(siglip.params, jax.sharding.NamedSharding(
      mesh, jax.sharding.PartitionSpec()))
  many = dataclasses.replace(siglip, params=params, mesh=mesh)
  np.testing.assert_allclose(many.embed(images), siglip.embed(images), atol=1e-6)


def test_probabilities_of_pairs_that_do_not_belong_together():
  found = embedding.probabilities(np.float32([-20, -16.5, 0, 20, 200]))
  np.testing.assert_allclose(found, [2.0611537e-9, 6.8256e-8, .5, 1, 1], rtol=1e-5)
