"""PaliGemma and SigLIP in transformers: a tower and a decoder, or two towers, each named by its
family, and what joins them.

A tower or a decoder alone goes to its family whole.
"""
import dataclasses
import re

from big_vlm.families import exchange, paligemma
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import TORCH, ParamMapping
from pp.names import pick

ARCHITECTURE = "PaliGemmaForConditionalGeneration"
SIGLIP = {"siglip": "SiglipModel", "siglip2": "Siglip2Model"}  # the second one is NaFlex
PADDING = 64  # rows of the embedding table beyond ours: <image> and 63 unused ones
READ = {"text_config", "vision_config", "image_token_index", "image_token_id", "projection_dim",
        "tie_word_embeddings"}
SIZES = r"hidden_size|num_hidden_layers"  # of the decoder, written here too and not read
IGNORED = r"(model\.)?vision_tower\.(vision_model\.)?head\..*"  # a pooling head without use
SPELLINGS = [  # in memory and in adapters from 4.52 on; saved by a model made in 5.x
    (r"^model\.", ""),
    (r"^language_model\.(?!model\.)", "language_model.model."),
    (r"^vision_tower\.(?!vision_model\.)", "vision_tower.vision_model.")]


def _families():
  """{model_type: the family's hf module, None for PaliGemma and SigLIP themselves}."""
  return {"paligemma": None, **dict.fromkeys(SIGLIP), **{
      kind: module for module in exchange.modules("hf") for kind in module.ARCHITECTURES}}


def hub_spelling(name, model_type):
  """A tensor's name as in released files; None for one that is not read."""
  modules = exchange.modules("hf")
  if re.fullmatch("|".join([IGNORED, *(m.IGNORED for m in modules)]), name):
    return None
  module = _families()[model_type]
  own = [] if model_type in SIGLIP else SPELLINGS
  for regex, replacement in module.SPELLINGS if module else own:
    name = re.sub(regex, replacement, name, count=1)
  return name


def import_config(config, where):
  """PaliGemmaConfig of a config.json's dict; where: the file, for messages.

  Raises ValueError for a model that is not of these families or differs from them.
  """
  if "quantization_config" in config:
    method = (config["quantization_config"] or {}).get("quant_method", "an unnamed method")
    raise ValueError(
        f"{where}: the weights are quantized ({method}). Take the unquantized checkpoint they were "
        "made from; vlm.quantize('int8' or 'int4') then quantizes it here.")
  module = pick(_families(), config["model_type"], f"model_type in {where}:")
  if module:
    return exchange.alone(exchange.modules("hf")[module], module.import_config(config, where))
  if config["model_type"] in SIGLIP:
    return _import_siglip(config, where)
  foreign_keys.check(config, foreign_keys.CONFIG | {SIZES: foreign_keys.ANY}, where, READ)
  config_json.check_fixed(config, dict(tie_word_embeddings=(True,)), where)
  if (extra := padding_rows(config)) > PADDING:
    raise ValueError(f"{where}: {extra} rows of the embedding table lie from image_token_index on, "
                     f"of which {PADDING} are padding: rows for added tokens would not be read.")
  text, vision = _parts(config)
  llm = _import_part("llm", text, f"{where}, text_config")
  img = _import_part("img", vision, f"{where}, vision_config")
  projection = config.get("projection_dim", llm.width)
  if projection != llm.width:
    raise ValueError(f"{where}: projection_dim is {projection}, but the decoder's width is "
                     f"{llm.width}.")
  return paligemma.PaliGemmaConfig(
      dataclasses.replace(img, out_width=llm.width),
      dataclasses.replace(llm, vocab_size=llm.vocab_size - padding_rows(config)))


def _import_siglip(config, where):
  """The class says what the towers are: released SigLIP 2 files of a fixed size are SiglipModel."""
  foreign_keys.check(config, foreign_keys.CONFIG, where, {"text_config", "vision_config"})
  parts = {}
  for part, tower in (("img", "vision"), ("txt", "text")):
    kind, key = f"{config['model_type']}_{tower}_model", f"{tower}_config"
    found = {"model_type": kind, **(config.get(key) or {})}
    if found["model_type"] != kind:
      raise ValueError(f"{where}, {key}: the tower is {found['model_type']!r}; that of a "
                       f"{config['model_type']} is {kind}.")
    parts[part] = _families()[kind].import_config(found, f"{where}, {key}")
  return paligemma.PaliGemmaConfig(parts["img"], None, parts["txt"])


def _parts(config):
  return ({"model_type": "gemma", **(config.get("text_config") or {})},
          {"model_type": "siglip_vision_model", **(config.get("vision_config") or {})})


def _import_part(part, config, where):
  kind, known = config["model_type"], {
      t: m for m, p in exchange.modules("hf").items() if p == part for t in m.PALIGEMMA}
  if kind not in known:
    raise ValueError(f"{where}: the {'decoder' if part == 'llm' else 'tower'} is {kind!r}; "
                     f"supported are {', '.join(known)}.")
  return known[kind].import_config(config, where, True)


def padding_rows(config):
  """Rows of the embedding table from the image placeholder on, which ours does not have."""
  if config["model_type"] != "paligemma":
    return 0
  text, _ = _parts(config)
  rows = {"vocab_size": 256_000, **text}["vocab_size"]
  return max(0, rows - config.get("image_token_index", config.get("image_token_id", 256_000)))


def export_config(config, dtype):
  """config.json's dict of a PaliGemmaConfig; dtype: name of the weights' dtype.

  Raises ValueError for a model that transformers has no class of.
  """
  try:
    body, architecture = _export(config, dtype)
  except ValueError as e:
    raise ValueError(f"Transformers has no class for {e}: export it as 'native' or 'npz'."
                     ) from None
  return {"architectures": [architecture], **body, "dtype": dtype, "torch_dtype": dtype}


def _export(config, dtype):
  if txt := config.txt:
    text = exchange.module(txt, "hf")
    naflex = bool(config.img and config.img.naflex)
    body = text.export_config(txt, naflex)
    if config.img is None:
      return body, text.ARCHITECTURES[body["model_type"]]
    vision = exchange.module(config.img, "hf").export_config(config.img)
    kind = "siglip2" if naflex else "siglip"
    return {"model_type": kind, "text_config": body, "vision_config": vision,
            "initializer_factor": 1.0}, SIGLIP[kind]
  img, llm = ((part and exchange.module(part, "hf")) for part in (config.img, config.llm))
  tower = dataclasses.replace(config.img, out_width=None) if img and llm else config.img
  vision, text = img and img.export_config(tower), llm and llm.export_config(config.llm)
  if img is None:
    return {**text, "tie_word_embeddings": True}, llm.ARCHITECTURES[text["model_type"]]
  if llm is None:
    return vision, img.ARCHITECTURES[vision["model_type"]]
  if text["model_type"] not in llm.PALIGEMMA:
    raise ValueError(f"a vision tower with a decoder of the kind {text['model_type']!r}")
  exchange.check_head(config)
  rows = config.llm.vocab_size + PADDING
  shared = dict(num_image_tokens=config.img.tokens, dtype=dtype, torch_dtype=dtype)
  ids = {key: text[key] for key in ("pad_token_id", "eos_token_id", "bos_token_id")}
  return {
      "model_type": "paligemma", **ids, "ignore_index": -100,
      "image_token_index": config.llm.vocab_size, "hidden_size": config.llm.width,
      "projection_dim": config.llm.width, "vocab_size": rows, "tie_word_embeddings": True,
      "text_config": {**text, "vocab_size": rows, **shared},
      "vision_config": {**vision, "projection_dim": config.llm.width, **shared}}, ARCHITECTURE


def param_map(config, padding=PADDING):
  """The ParamMappings of a PaliGemmaConfig in the spelling of released files.

  padding: rows of PaliGemma's embedding table beyond ours.
  """
  both, table = config.img and config.llm, []
  if config.img:
    table += exchange.module(config.img, "hf").param_map(
        config.img, "vision_tower." if both else "")
  if both:
    table += TORCH.dense("img/head", "multi_modal_projector.linear", "w d -> d w")
  if config.txt:
    table += exchange.module(config.txt, "hf").param_map(config.txt)
  if config.logit_specs:
    table += [ParamMapping("t", "logit_scale"), ParamMapping("b", "logit_bias")]
  if config.llm:
    table += exchange.module(config.llm, "hf").param_map(
        config.llm, "language_model." if both else "", padding if both else 0)
  return table
