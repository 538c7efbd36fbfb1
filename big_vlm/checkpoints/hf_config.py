"""Hugging Face's config.json <-> PaliGemmaConfig.

A config.json lists only what differs from the defaults of its class in transformers, and keys moved
between its versions: DEFAULTS and the functions here know the defaults and both spellings. Whatever
would change the numbers and has no counterpart here is refused, not skipped.
"""
import dataclasses
import json
import pathlib

from big_vlm.families import gemma, opt, paligemma
from big_vlm.families import siglip as vit
from pp.names import pick

GEMMA_IDS = dict(pad_token_id=0, eos_token_id=1, bos_token_id=2)
OPT_IDS = dict(pad_token_id=1, eos_token_id=2, bos_token_id=2)
TANH_GELU = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")  # three names of one function
MAX_POSITIONS = 8192  # of all Gemma decoders

_GEMMA2 = dict(hidden_size=2304, num_hidden_layers=26, intermediate_size=9216,
               num_attention_heads=8, num_key_value_heads=4, head_dim=256, vocab_size=256_000,
               query_pre_attn_scalar=256, sliding_window=4096, attn_logit_softcapping=50.0,
               final_logit_softcapping=30.0)
DEFAULTS = {
    "gemma": dict(hidden_size=3072, num_hidden_layers=28, intermediate_size=24_576,
                  num_attention_heads=16, num_key_value_heads=16, head_dim=256,
                  vocab_size=256_000),
    "gemma2": _GEMMA2,
    "vaultgemma": _GEMMA2,
    "siglip_vision_model": dict(hidden_size=768, num_hidden_layers=12, intermediate_size=3072,
                                num_attention_heads=12, image_size=224, patch_size=16,
                                vision_use_head=True),
    "opt": dict(hidden_size=768, num_hidden_layers=12, ffn_dim=3072, num_attention_heads=12,
                vocab_size=50_272, max_position_embeddings=2048),
}
# What the models here do and cannot do otherwise: {key: allowed values}. The first one stands in
# for a key that is absent.
_GEMMA_FIXED = dict(rms_norm_eps=(1e-6,), attention_bias=(False,), tie_word_embeddings=(True,),
                    hidden_activation=(None, "gelu", *TANH_GELU),
                    hidden_act=(None, "gelu", *TANH_GELU))  # "gelu" was always run as tanh-GELU
FIXED = {
    "gemma": _GEMMA_FIXED,
    "gemma2": _GEMMA_FIXED,
    "vaultgemma": _GEMMA_FIXED,
    "siglip_vision_model": dict(layer_norm_eps=(1e-6,), num_channels=(3,), hidden_act=TANH_GELU),
    "opt": dict(do_layer_norm_before=(True,), _remove_final_layer_norm=(False,),
                enable_bias=(True,), layer_norm_elementwise_affine=(True,),
                tie_word_embeddings=(True,), activation_function=("relu",)),
}
ARCHITECTURES = {
    "paligemma": "PaliGemmaForConditionalGeneration", "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM", "vaultgemma": "VaultGemmaForCausalLM",
    "opt": "OPTForCausalLM", "siglip_vision_model": "SiglipVisionModel",
}


def read(folder):
  """The dict of folder/config.json. Raises ValueError with file and line, or FileNotFoundError."""
  file = pathlib.Path(folder) / "config.json"
  try:
    config = json.loads(file.read_text())
  except FileNotFoundError:
    raise FileNotFoundError(f"{folder} holds weights but no config.json, which says what model "
                            "they are: fetch it from where they came from.") from None
  except json.JSONDecodeError as e:
    raise ValueError(f"{file}, line {e.lineno}, column {e.colno}: no JSON ({e.msg}).") from None
  except UnicodeDecodeError as e:
    raise ValueError(f"{file} is no text ({e}).") from None
  if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
    raise ValueError(f"{file} has no 'model_type', so it describes no model of transformers.")
  return config


def to_ours(config, where):
  """PaliGemmaConfig of a config.json's dict; where: the file, for messages.

  Raises ValueError for a model that is not of these families or differs from them.
  """
  kind = config["model_type"]
  if "quantization_config" in config:
    method = (config["quantization_config"] or {}).get("quant_method", "an unnamed method")
    raise ValueError(
        f"{where}: the weights are quantized ({method}). Take the unquantized checkpoint they were "
        "made from; vlm.quantize('int8' or 'int4') then quantizes it here.")
  read_kind = {"paligemma": _paligemma, "siglip": _siglip, "siglip_vision_model": _siglip,
               "gemma": _decoder, "gemma2": _decoder, "vaultgemma": _decoder, "opt": _decoder}
  return pick(read_kind, kind, f"model_type in {where}:")(config, where)


def _paligemma(config, where):
  text = {"model_type": "gemma", **(config.get("text_config") or {})}
  vision = {"model_type": "siglip_vision_model", "vision_use_head": False,
            **(config.get("vision_config") or {})}
  if text["model_type"] not in ("gemma", "gemma2"):
    raise ValueError(f"{where}: the decoder is {text['model_type']!r}; PaliGemma has gemma or "
                     "gemma2.")
  llm = _gemma(text, f"{where}, text_config", window=False)
  img = _vision(vision, f"{where}, vision_config", out_width=llm.width)
  projection = config.get("projection_dim", llm.width)
  if projection != llm.width:
    raise ValueError(f"{where}: projection_dim is {projection}, but the decoder's width is "
                     f"{llm.width}.")
  return paligemma.PaliGemmaConfig(
      img, dataclasses.replace(llm, vocab_size=llm.vocab_size - fillers(config)))


def fillers(config):
  """Rows of their embedding table from the image placeholder on, which ours does not have."""
  if config["model_type"] != "paligemma":
    return 0
  rows = (config.get("text_config") or {}).get("vocab_size", DEFAULTS["gemma"]["vocab_size"])
  image = config.get("image_token_index", config.get("image_token_id", 256_000))
  return max(0, rows - image)


def _siglip(config, where):
  if config["model_type"] == "siglip":
    config = {"model_type": "siglip_vision_model", **(config.get("vision_config") or {})}
    where = f"{where}, vision_config"
  return paligemma.PaliGemmaConfig(_vision(config, where, head=True), None)


def _decoder(config, where):
  return paligemma.PaliGemmaConfig(
      None, _opt(config, where) if config["model_type"] == "opt" else _gemma(config, where))


def _get(config, where):
  """A function key -> value or default, once all that is FIXED is found to be as it must."""
  kind = config["model_type"]
  for key, allowed in FIXED[kind].items():
    if (value := config.get(key, allowed[0])) not in allowed:
      raise ValueError(f"{where}: {key} is {value!r}; {kind} is supported with "
                       f"{' or '.join(repr(a) for a in allowed if a is not None)} only.")
  return lambda key: config.get(key, DEFAULTS[kind][key])


def _vision(config, where, out_width=None, head=False):
  if config["model_type"] != "siglip_vision_model":
    raise ValueError(f"{where}: the tower is {config['model_type']!r}; only siglip_vision_model "
                     "is supported.")
  get = _get(config, where)
  return vit.ViTConfig(
      width=get("hidden_size"), depth=get("num_hidden_layers"), mlp=get("intermediate_size"),
      heads=get("num_attention_heads"), patch=_side(get("patch_size"), where),
      image_size=_side(get("image_size"), where), out_width=out_width,
      pool="map" if head and get("vision_use_head") else "none")


def _side(size, where):
  sides = set(size) if isinstance(size, (list, tuple)) else {size}
  if len(sides) > 1:
    raise ValueError(f"{where}: images and patches must be square, not {size}.")
  return sides.pop()


def _gemma(config, where, window=True):
  get = _get(config, where)
  _check_rope(config, where)
  if window and config.get("use_bidirectional_attention"):
    raise ValueError(f"{where}: use_bidirectional_attention is set; text decoders are causal here.")
  changes = {}
  if config["model_type"] != "gemma":
    scalar = get("query_pre_attn_scalar")
    changes = dict(
        query_scale=None if scalar == get("head_dim") else scalar**-0.5,
        post_norms=config["model_type"] == "gemma2", attn_softcap=get("attn_logit_softcapping"),
        final_softcap=get("final_logit_softcapping"),
        window=_window(config, get, where) if window else None)  # PaliGemma 2 trained without one
  return gemma.GemmaConfig(
      width=get("hidden_size"), depth=get("num_hidden_layers"), mlp=get("intermediate_size"),
      heads=get("num_attention_heads"), kv_heads=get("num_key_value_heads"),
      head_dim=get("head_dim"), vocab_size=get("vocab_size"), **changes)


def _check_rope(config, where):
  """Raises unless every layer rotates with base 10000 and no scaling."""
  parameters = config.get("rope_parameters") or {}
  groups = [p for p in parameters.values() if isinstance(p, dict)] or [parameters]
  for rope in [*groups, {"rope_theta": config.get("rope_theta", 10_000),
                         **(config.get("rope_scaling") or {})}]:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if rope.get("rope_theta", 10_000) != 10_000 or kind != "default":
      raise ValueError(f"{where}: rotary positions of {rope}; only rope_theta 10000 without "
                       "scaling is supported, with which all Gemma 1 and 2 models were released.")


def _window(config, get, where):
  kinds = config.get("layer_types")
  depth, local, full = get("num_hidden_layers"), "sliding_attention", "full_attention"
  if kinds == [full] * depth:
    return None
  if kinds is not None and kinds != [full if i % 2 else local for i in range(depth)]:
    raise ValueError(f"{where}: layer_types must be {local} and {full} in turn, {depth} in all, or "
                     f"all {full}; it is {kinds}.")
  return get("sliding_window")


def _opt(config, where):
  get = _get(config, where)
  width = get("hidden_size")
  if config.get("word_embed_proj_dim") not in (None, width):
    raise ValueError(
        f"{where}: word_embed_proj_dim is {config['word_embed_proj_dim']}, the width {width}: "
        "embeddings that are projected, as in OPT-350m, are not supported. Take opt-125m or "
        "opt-1.3b.")
  return opt.OPTConfig(
      width=width, depth=get("num_hidden_layers"), mlp=get("ffn_dim"),
      heads=get("num_attention_heads"), vocab_size=get("vocab_size"),
      max_positions=get("max_position_embeddings"))


def to_theirs(config, dtype, filler):
  """config.json's dict of a PaliGemmaConfig, in the spellings of transformers 4.51 to 5.23.

  dtype: name of the weights' dtype. filler: rows added to PaliGemma's embedding table. Raises
  ValueError for a model that transformers has no class of.
  """
  if config.img is None:
    body = _to_text(config.llm)
    both = dict(body, tie_word_embeddings=True)
  elif config.llm is None:
    body = both = _to_vision(config.img)
    if config.img.out_width:
      raise _no_class(f"a SigLIP tower with a linear head of {config.img.out_width}")
  else:
    both = _to_paligemma(config, dtype, filler)
  return {"architectures": [ARCHITECTURES[both["model_type"]]], **both,
          "dtype": dtype, "torch_dtype": dtype}


def _to_paligemma(config, dtype, filler):
  text, vision = _to_text(config.llm), _to_vision(config.img)
  if text["model_type"] not in ("gemma", "gemma2"):
    raise _no_class(f"a vision tower with a decoder of the kind {text['model_type']!r}")
  if config.img.pool != "none" or config.img.out_width != config.llm.width:
    raise _no_class("a PaliGemma whose tower is pooled or has no head of the decoder's width")
  image_tokens = dict(num_image_tokens=config.img.tokens)
  rows, dtypes = config.llm.vocab_size + filler, dict(dtype=dtype, torch_dtype=dtype)
  return {
      "model_type": "paligemma", **GEMMA_IDS, "ignore_index": -100,
      "image_token_index": config.llm.vocab_size, "hidden_size": config.llm.width,
      "projection_dim": config.llm.width, "vocab_size": rows, "tie_word_embeddings": True,
      "text_config": {**text, "vocab_size": rows, **image_tokens, **dtypes},
      "vision_config": {**vision, **image_tokens, "projection_dim": config.llm.width, **dtypes}}


def _to_vision(c):
  return dict(model_type="siglip_vision_model", hidden_size=c.width, num_hidden_layers=c.depth,
              intermediate_size=c.mlp, num_attention_heads=c.heads, patch_size=c.patch,
              image_size=c.image_size, num_channels=3, layer_norm_eps=1e-6,
              hidden_act=TANH_GELU[0], vision_use_head=c.pool == "map")


def _to_text(c):
  return _to_opt(c) if isinstance(c, opt.OPTConfig) else _to_gemma(c)


def _to_opt(c):
  return dict(model_type="opt", hidden_size=c.width, word_embed_proj_dim=c.width,
              num_hidden_layers=c.depth, ffn_dim=c.mlp, num_attention_heads=c.heads,
              vocab_size=c.vocab_size, max_position_embeddings=c.max_positions,
              do_layer_norm_before=True, enable_bias=True, activation_function="relu", **OPT_IDS)


def is_gemma1(c):
  """Whether transformers' class for a GemmaConfig is that of Gemma 1."""
  return not c.post_norms and {c.query_scale, c.attn_softcap, c.final_softcap, c.window} == {None}


def _to_gemma(c):
  body = dict(
      hidden_size=c.width, num_hidden_layers=c.depth, intermediate_size=c.mlp,
      num_attention_heads=c.heads, num_key_value_heads=c.kv_heads, head_dim=c.head_dim,
      vocab_size=c.vocab_size, max_position_embeddings=MAX_POSITIONS, rms_norm_eps=1e-6,
      hidden_act=TANH_GELU[0], hidden_activation=TANH_GELU[0], attention_bias=False,
      rope_theta=10_000.0, rope_parameters=dict(rope_theta=10_000.0, rope_type="default"),
      **GEMMA_IDS)
  if is_gemma1(c):
    return dict(model_type="gemma", **body)
  scalar = c.head_dim if c.query_scale is None else c.query_scale**-2
  if abs(scalar - round(scalar)) > 1e-6:
    raise _no_class(f"a decoder of query scale {c.query_scale}, which is not n**-0.5 of a whole n")
  # Transformers 4 takes every second layer as local whatever layer_types says: a window that no
  # text fills makes it global there too.
  local = "full_attention" if c.window is None else "sliding_attention"
  return dict(
      model_type="gemma2" if c.post_norms else "vaultgemma", **body,
      query_pre_attn_scalar=round(scalar), sliding_window=c.window or MAX_POSITIONS,
      layer_types=["full_attention" if i % 2 else local for i in range(c.depth)],
      attn_logit_softcapping=c.attn_softcap, final_logit_softcapping=c.final_softcap)


def _no_class(what):
  return ValueError(f"Transformers has no class for {what}: export it as 'native' or 'npz'.")
