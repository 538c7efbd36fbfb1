"""Models of one's own config or image size, and quantized ones on disk."""
import jax
import numpy as np
import pytest

import big_vlm
from big_vlm import building, samplers
from big_vlm.vlm import VLM

TINY = {"img": {"variant": "tiny"}, "llm": {"variant": "tiny"}}
IDS = [[2, 5, 6]]


def test_a_config_and_a_tokenizer_make_a_model(tokenizer, mesh1, image):
  vlm = VLM.from_config(TINY, tokenizer, mesh=mesh1)
  assert vlm.config.llm.vocab_size == vlm.tokenizer.vocab_size == 1632
  assert (vlm.text_len, vlm.prompts, vlm.source) == (None, (), "random parameters of seed 0")
  answer, = vlm.generate("ocr", image, max_new_tokens=3, stop=(),
                         sampler=samplers.top_k(5) | samplers.temperature(2.))
  same, = vlm.generate("ocr", image, max_new_tokens=3, stop=(), sampler="top_k(5)|temperature(2.)")
  assert answer.tokens == same.tokens
  again = VLM.from_config(vlm.config, tokenizer, mesh=mesh1)
  other = VLM.from_config(TINY, tokenizer, mesh=mesh1, seed=1)
  equal = lambda a, b: jax.tree.all(jax.tree.map(np.array_equal, a.params, b.params))
  assert equal(vlm, again) and not equal(vlm, other)


def test_images_of_another_size_by_resampled_positions(source, vlm, mesh1, tmp_path, image):
  vlm.export(tmp_path / "model", format="native")
  larger = big_vlm.from_preset(tmp_path / "model", image_size=24, mesh=mesh1)
  assert larger.image_size == 24 and larger.preprocess(image).shape == (24, 24, 3)
  shapes = [v.params["img"]["pos_embedding"].shape for v in (vlm, larger)]
  assert shapes == [(1, 4, 32), (1, 9, 32)]
  assert big_vlm.from_preset(source, image_size=8, load_weights=False, mesh=mesh1).image_size == 8
  for size in (0, 7, "8", True):
    with pytest.raises(ValueError, match=f"image_size={size!r} is not a whole number of 8 pixels"):
      big_vlm.from_preset(source, image_size=size, load_weights=False)


def test_a_part_alone_and_half_precision(mesh1):
  text = VLM.from_config({"llm": {"variant": "tiny", "vocab_size": 64}}, mesh=mesh1,
                         dtype="bfloat16")
  assert text.image_size is None and text.logits(IDS).shape == (1, 3, 64)
  assert text.params["llm"]["embedder"]["input_embedding"].dtype == "bfloat16"
  assert VLM.from_config({"img": {"variant": "tiny"}}, mesh=mesh1, dtype="auto").image_size == 16


@pytest.mark.parametrize("config,message", [
    ({}, "has an 'img', an 'llm', or both"),
    ("digits", "not 'digits'; from_preset"),
    ({"llms": {"variant": "tiny"}}, "Did you mean 'llm'"),
    ({"llm": {"width": 32}}, "'llm' of a model's config is a dict with a 'variant', which is one"),
    ({"llm": "tiny"}, "is a dict with a 'variant'"),
    ({"llm": {"variant": "tinny"}}, "Did you mean 'tiny"),
    ({"llm": {"variant": "tiny", "widht": 32}}, "Did you mean 'width'"),
    ({"llm": {"variant": "tiny", "depth": 2.5}}, "depth is '2.5', not a whole number"),
    ({"llm": {"variant": "tiny", "vocab_size": 128}}, "has 1632 pieces.*vocab_size of 128")])
def test_a_config_that_is_none(tokenizer, mesh1, config, message):
  with pytest.raises(ValueError, match=message):
    VLM.from_config(config, tokenizer, mesh=mesh1)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_a_quantized_model_comes_back_from_disk_bit_for_bit(vlm, image, tmp_path, kind):
  small = vlm.quantize(kind)
  pixels = vlm.preprocess(image)[None]
  small.export(tmp_path / "w", format="native")
  back = big_vlm.from_preset(tmp_path / "w", mesh=vlm.mesh)
  assert jax.tree.structure(back.params) == jax.tree.structure(small.params)
  np.testing.assert_array_equal(back.logits(IDS, pixels), small.logits(IDS, pixels))
  assert kind in repr(back)
  with pytest.raises(ValueError, match="quantized.*write quantized weights with format='native'"):
    small.export(tmp_path / "hf", format="hf")
  with pytest.raises(ValueError, match="adapted or quantized"):
    small.with_lora(2).export(tmp_path / "lora", format="native")


def test_adapters_that_are_none_are_named(vlm, tmp_path):
  (tmp_path / "a.safetensors").write_text("no tensors")
  for path, error in ((tmp_path, OSError), (tmp_path / "a.safetensors", ValueError)):
    with pytest.raises(error, match=f"{tmp_path}/a"):
      vlm.load_adapter(path)


@pytest.mark.parametrize("dtype,name", [(np.float16, "float16"), (jax.numpy.bfloat16, "bfloat16"),
                                        ("auto", "float32"), (np.dtype("float32"), "float32")])
def test_dtypes_may_be_those_of_numpy(mesh1, dtype, name):
  assert building.compute_dtype(dtype, mesh1) == name


def test_a_dtype_that_is_none_has_a_near_miss(mesh1):
  with pytest.raises(ValueError, match="dtype='bf16' is none of .*Did you mean 'bfloat16'"):
    building.compute_dtype("bf16", mesh1)


def test_text_len_and_prompts_of_a_preset_are_on_the_object():
  tiny = big_vlm.presets.Preset("tiny", TINY, 128, "hf://none", ("caption en",))
  big_vlm.presets.PRESETS["tiny"] = tiny
  try:
    vlm = big_vlm.from_preset("tiny", load_weights=False)
  finally:
    del big_vlm.presets.PRESETS["tiny"]
  assert (vlm.text_len, vlm.prompts, vlm.source) == (128, ("caption en",), "tiny")
  assert "trained with 128 of text" in repr(vlm)
  assert vlm.quantize("int8").text_len == 128
