"""config.json as released, as old and new versions write it, and what is refused."""
import dataclasses
import json

import pytest

from big_vlm import presets
from big_vlm.checkpoints import hf
from big_vlm.families import gemma, opt, paligemma, paligemma_hf
from big_vlm.families import siglip as vit
from big_vlm.families.siglip import text as text_tower

RELEASED = {  # as on the hub: only what differs from the defaults of the class
    "paligemma-3b-pt-224": (
        dict(model_type="paligemma", image_token_index=257152, projection_dim=2048,
             hidden_size=2048, vocab_size=257216, torch_dtype="float32",
             text_config=dict(
                 model_type="gemma", hidden_size=2048, intermediate_size=16384,
                 num_attention_heads=8, num_hidden_layers=18, num_key_value_heads=1,
                 num_image_tokens=256, torch_dtype="float32", vocab_size=257216),
             vision_config=dict(
                 model_type="siglip_vision_model", hidden_size=1152, intermediate_size=4304,
                 num_attention_heads=16, num_hidden_layers=27, num_image_tokens=256,
                 patch_size=14, projection_dim=2048, projector_hidden_act="gelu_fast",
                 vision_use_head=False)),
        paligemma.config({"variant": "So400m/14"},
                         {"variant": "gemma_2b", "vocab_size": 257152})),
    "paligemma2-28b-pt-896": (
        dict(model_type="paligemma", image_token_index=257152, projection_dim=4608,
             text_config=dict(
                 model_type="gemma2", hidden_size=4608, intermediate_size=36864, head_dim=128,
                 num_attention_heads=32, num_hidden_layers=46, num_key_value_heads=16,
                 query_pre_attn_scalar=144, sliding_window=4096, vocab_size=257216),
             vision_config=dict(
                 model_type="siglip_vision_model", hidden_size=1152, intermediate_size=4304,
                 num_attention_heads=16, num_hidden_layers=27, patch_size=14, image_size=896,
                 vision_use_head=False)),
        paligemma.config({"variant": "So400m/14", "image_size": 896},
                         {"variant": "gemma2_27b", "vocab_size": 257152, "window": None})),
    "gemma-7b": (dict(model_type="gemma", hidden_act="gelu"), "gemma_7b"),
    "gemma-2b": (
        dict(model_type="gemma", hidden_act="gelu", hidden_activation=None, hidden_size=2048,
             intermediate_size=16384, num_attention_heads=8, num_hidden_layers=18,
             num_key_value_heads=1, rope_scaling=None, rope_theta=10000.0), "gemma_2b"),
    "gemma-2-2b": (dict(model_type="gemma2"), "gemma2_2b"),
    "gemma-2-9b": (
        dict(model_type="gemma2", hidden_size=3584, num_hidden_layers=42, intermediate_size=14336,
             num_attention_heads=16, num_key_value_heads=8, cache_implementation="hybrid"),
        "gemma2_9b"),
    "opt-125m": (dict(model_type="opt"), "opt_125m"),
    "siglip-so400m-patch14-384": (
        dict(model_type="siglip", text_config=dict(hidden_size=1152), vision_config=dict(
            hidden_size=1152, image_size=384, intermediate_size=4304, num_attention_heads=16,
            num_hidden_layers=27, patch_size=14, model_type="siglip_vision_model")),
        paligemma.PaliGemmaConfig(
            vit.config("So400m/14", image_size=384, pool="map"), None,
            text_tower.config("text_B", width=1152, out_width=1152))),
    "siglip-base-patch16-224": (
        dict(model_type="siglip", vision_config=dict(model_type="siglip_vision_model")),
        paligemma.PaliGemmaConfig(
            vit.config("B/16", pool="map"), None, text_tower.config("text_B"))),
    "siglip2-giant-opt-patch16-256": (  # SigLIP 2 of a fixed size is a SiglipModel
        dict(model_type="siglip", text_config=dict(
            hidden_size=1152, intermediate_size=4304, num_attention_heads=16, num_hidden_layers=27,
            projection_size=1536, vocab_size=256_000, model_type="siglip_text_model"),
            vision_config=dict(
                hidden_size=1536, image_size=256, intermediate_size=6144, num_attention_heads=16,
                num_hidden_layers=40, model_type="siglip_vision_model")),
        paligemma.config(**presets.resolve("siglip2_g-opt16_256").config)),
    "siglip2-base-patch16-naflex": (
        dict(model_type="siglip2", text_config=dict(
            vocab_size=256_000, model_type="siglip2_text_model", pad_token_id=1),
            vision_config=dict(model_type="siglip2_vision_model")),
        paligemma.config(**presets.resolve("siglip2_b16_naflex").config)),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_configs(name):
  external, wanted = RELEASED[name]
  if isinstance(wanted, str):
    rows = opt if wanted in opt.VARIANTS else gemma
    wanted = paligemma.PaliGemmaConfig(None, rows.config(wanted))
  assert paligemma_hf.import_config(external, name) == wanted
  # ... and what we write of them is read as the same, by either generation of keys.
  padding = paligemma_hf.padding_rows(external)
  assert padding == (64 if "paligemma" in name else 0)
  again = paligemma_hf.export_config(wanted, "bfloat16")
  assert paligemma_hf.import_config(json.loads(json.dumps(again)), name) == wanted
  assert again["architectures"][0].startswith(
      {"paligemma": "PaliGemmaFor", "gemma": "GemmaFor", "gemma2": "Gemma2For",
       "opt": "OPTFor", "siglip": "SiglipModel", "siglip2": "Siglip2Model"}[again["model_type"]])
  for text in [again, again.get("text_config", {})]:
    if text.get("model_type", "").startswith("gemma"):
      assert text["rope_theta"] == text["rope_parameters"]["rope_theta"] == 10000
      assert text["hidden_act"] == text["hidden_activation"] == "gelu_pytorch_tanh"
      assert text["dtype"] == text["torch_dtype"] == "bfloat16"
      assert text["vocab_size"] == (257216 if padding else 256000)


def text(**changes):
  return {"model_type": "gemma2", "num_hidden_layers": 4, "head_dim": 16,
          "query_pre_attn_scalar": 16, **changes}


LOCAL, FULL = "sliding_attention", "full_attention"


@pytest.mark.parametrize("changes,field,value", [
    (dict(), "window", 4096),
    (dict(sliding_window=7), "window", 7),
    (dict(sliding_window=7, layer_types=[LOCAL, FULL] * 2), "window", 7),
    (dict(layer_types=[FULL] * 4), "window", None),
    (dict(sliding_window=None), "window", None),
    (dict(), "query_scale", None),
    (dict(query_pre_attn_scalar=224), "query_scale", 224**-0.5),
    (dict(final_logit_softcapping=None), "final_softcap", None),
    (dict(attn_logit_softcapping=20.0), "attn_softcap", 20.0),
    (dict(rope_parameters={"rope_theta": 10000.0, "rope_type": "default"}), "vocab_size", 256000),
    (dict(model_type="vaultgemma"), "post_norms", False),
])
def test_each_key_of_gemma2_counts(changes, field, value):
  ours = paligemma_hf.import_config(text(**changes), "F")
  assert getattr(ours.llm, field) == value
  assert paligemma_hf.import_config(paligemma_hf.export_config(ours, "float32"), "F") == ours


def test_paligemma_2_has_no_window_but_its_query_scale():
  external = dict(RELEASED["paligemma2-28b-pt-896"][0])
  external["text_config"] = {**external["text_config"], "query_pre_attn_scalar": 100}
  llm = paligemma_hf.import_config(external, "F").llm
  assert (llm.window, llm.query_scale) == (None, 0.1)
  # Transformers with its window finds one that no text fills.
  written = paligemma_hf.export_config(paligemma_hf.import_config(external, "F"), "float32")
  written = written["text_config"]
  assert written["sliding_window"] == 8192 and set(written["layer_types"]) == {FULL}


@pytest.mark.parametrize("external,message", [
    ({"model_type": "gema2"}, "Unknown model_type in F: 'gema2'. Did you mean 'gemma2'"),
    ({"model_type": "llama"}, "Known: gemma, gemma2, gemma3_text, opt, paligemma, siglip"),
    (text(rope_theta=1e6), "rope_theta 10000"),
    (text(rope_parameters={"rope_theta": 1e6, "rope_type": "default"}), "rope_theta 10000"),
    (text(rope_scaling={"type": "linear", "factor": 2.0}), "without scaling"),
    (text(hidden_activation="silu"), "hidden_activation is 'silu'"),
    (text(rms_norm_eps=1e-5), "rms_norm_eps is 1e-05; only 1e-06 is supported"),
    (text(tie_word_embeddings=False), "tie_word_embeddings is False"),
    (text(attention_bias=True), "attention_bias is True"),
    (text(layer_types=[FULL, LOCAL] * 2), "layer_types must be"),
    (text(layer_types=[LOCAL, FULL]), "4 in all"),
    (text(use_bidirectional_attention=True), "use_bidirectional_attention"),
    (text(quantization_config={"quant_method": "bitsandbytes"}),
     r"quantized \(bitsandbytes\).*vlm.quantize"),
    (dict(model_type="opt", do_layer_norm_before=0), "do_layer_norm_before is 0, neither true"),
    (dict(model_type="opt", _remove_final_layer_norm=True), "_remove_final_layer_norm is True"),
    (dict(model_type="opt", activation_function="gelu"), "activation_function is 'gelu'"),
    (dict(model_type="opt", enable_bias=False), "enable_bias is False"),
    (dict(model_type="siglip_vision_model", hidden_act="gelu"), "hidden_act is 'gelu'"),
    (dict(model_type="siglip_vision_model", image_size=[224, 336]), "must be square"),
    (dict(model_type="paligemma", text_config={"model_type": "gemma3_text"}),
     "the decoder is 'gemma3_text'"),
    (dict(model_type="paligemma", vision_config={"model_type": "clip_vision_model"}),
     "the tower is 'clip_vision_model'"),
    (dict(model_type="paligemma", projection_dim=7), "projection_dim is 7"),
])
def test_what_would_change_the_numbers_is_refused(external, message):
  with pytest.raises(ValueError, match=message):
    paligemma_hf.import_config(external, "F")


SIGLIP, GEMMA = {"variant": "tiny"}, {"variant": "tiny"}


@pytest.mark.parametrize("config,message", [
    (paligemma.PaliGemmaConfig(vit.config("tiny", out_width=8), None), "linear head of 8"),
    (paligemma.PaliGemmaConfig(vit.config("tiny", out_width=32), opt.config("opt_tiny")),
     "decoder of the kind 'opt'"),
    (paligemma.config({**SIGLIP, "pool": "map"}, GEMMA), "pooled"),
    (paligemma.config(SIGLIP, {**GEMMA, "window": 4}), "decoder of the kind 'vaultgemma'"),
    (paligemma.config(None, {**GEMMA, "query_scale": 0.3}), "query scale 0.3"),
])
def test_models_that_transformers_lacks_are_refused(config, message):
  with pytest.raises(ValueError, match=f"Transformers has no class.*{message}.*'native' or 'npz'"):
    paligemma_hf.export_config(config, "float32")


def test_activation_dtype_and_dropout_are_ours_alone():
  llm = gemma.config("tiny", dtype="bfloat16", dropout=0.1)
  external = paligemma_hf.export_config(paligemma.PaliGemmaConfig(None, llm), "float16")
  assert external["dtype"] == "float16"
  assert paligemma_hf.import_config(external, "F").llm == dataclasses.replace(
      llm, dtype="float32", dropout=0)


@pytest.mark.parametrize("content,message", [
    (b'{\n "model_type": "gemma",\n}', r"config\.json, line 3, column 1: not valid JSON"),
    (b"", r"config\.json, line 1, column 1"),
    (b"[1]", "no 'model_type'"),
    (b'{"hidden_size": 3}', "no 'model_type'"),
    (b"\xff\xfe{}", "is not text"),
])
def test_a_config_json_that_is_none(tmp_path, content, message):
  (tmp_path / "config.json").write_bytes(content)
  with pytest.raises(ValueError, match=message):
    hf.open_source(tmp_path)
