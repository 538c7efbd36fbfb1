"""PaliGemma and SigLIP in KerasHub: one config and one file of a tower and a decoder, or of two
towers.

A tower or a decoder alone goes to its family whole.
"""
import dataclasses
from typing import NamedTuple

from big_vlm.families import exchange, paligemma
from big_vlm.families.siglip import keras as vision_tower
from big_vlm.families.siglip.text import keras as text_tower
from big_vlm.formats import foreign_keys
from big_vlm.formats.param_map import KERAS, ParamMapping
from pp.names import near_miss

CLASS, SIGLIP = "PaliGemmaBackbone", "SigLIPBackbone"
TEXT_LENGTH = 512  # tokens that PaliGemma's preprocessor packs
LOGITS = "layers/sig_lip_head/vars"  # of SigLIP: the logits' scale and bias, scalars


class Preprocessing(NamedTuple):
  """What a preset's preprocessor does."""
  length: int  # tokens that it packs
  byte_level: bool  # whether its tokenizer is a byte-level BPE
  settings: dict  # of its class: which special tokens it adds
  task: str | None  # the end of the name of the class that generates; None: there is none


def import_config(name, config, where):
  """PaliGemmaConfig of a backbone of the class `name`. Raises ValueError for one that differs."""
  families = exchange.modules("keras")
  classes = {c: m for m in families for c in m.CLASSES} | {CLASS: None, SIGLIP: None}
  if name not in classes:
    raise ValueError(f"{where} is of the class {name!r}, which is not supported."
                     f"{near_miss(name, classes)} Known: {', '.join(sorted(classes))}.")
  if module := classes[name]:
    return exchange.alone(families[module], module.import_config(config, where))
  if name == SIGLIP:
    return _import_siglip(config, where)
  parts = [next(m for m, p in families.items() if p == part and m.PALIGEMMA)
           for part in ("img", "llm")]
  foreign_keys.check(config, foreign_keys.KERAS, where, parts[0].PALIGEMMA_READ | parts[1].READ)
  img, llm = (part.import_config(config, where, True) for part in parts)
  return paligemma.PaliGemmaConfig(dataclasses.replace(img, out_width=llm.width), llm)


def _import_siglip(config, where):
  towers = {"vision_encoder": vision_tower, "text_encoder": text_tower}
  foreign_keys.check(config, foreign_keys.KERAS, where, towers)
  found = []
  for key, module in towers.items():
    tower = config[key]
    if (name := str(tower.get("registered_name")).rpartition(">")[2]) != module.TOWER:
      raise ValueError(f"{where}: the {key} is of the class {name!r}, not {module.TOWER}, and is "
                       "not supported.")
    found.append(module.import_config(tower["config"], f"{where}, {key}"))
  return paligemma.PaliGemmaConfig(found[0], None, found[1])


def export_config(config):
  """(class, its own config) of a PaliGemmaConfig; a tower in it is such a pair. Raises ValueError
  for a model without a class."""
  if config.img and config.txt:
    return SIGLIP, {
        "vision_encoder": (vision_tower.TOWER, vision_tower.export_config(config.img)),
        "text_encoder": (text_tower.TOWER, text_tower.export_config(config.txt))}
  if not config.img or not config.llm:
    part, = config.parts.values()
    module = exchange.module(part, "keras")
    return module.CLASSES[0], module.export_config(part)
  tower, decoder = (exchange.module(part, "keras") for part in (config.img, config.llm))
  if not decoder.PALIGEMMA:
    name = decoder.CLASSES[0].removesuffix("Backbone")
    raise ValueError(f"a vision tower with an {name} decoder")
  exchange.check_head(config)
  return CLASS, decoder.export_config(config.llm, True) | tower.export_config(config.img, True)


def preprocessing(config):
  """The Preprocessing of a model, or None for a tower alone, which has no preprocessor."""
  if config.img and config.txt:
    return Preprocessing(config.txt.length, False, dict(
        add_start_token=False, add_end_token=True, canonicalize_text=True), None)
  if config.llm is None:
    return None
  decoder = exchange.module(config.llm, "keras")
  return Preprocessing(
      TEXT_LENGTH if config.img else decoder.TEXT_LENGTH, decoder.BYTE_LEVEL,
      dict(add_start_token=True, add_end_token=True), "CausalLM")


def param_map(config):
  """The ParamMappings of a PaliGemmaConfig."""
  if config.logit_specs:
    return [ParamMapping("t", f"{LOGITS}/0", "1 ->"), ParamMapping("b", f"{LOGITS}/1", "1 ->"),
            *vision_tower.param_map(config.img, root=vision_tower.ROOT),
            *text_tower.param_map(config.txt, root=text_tower.ROOT)]
  parts = list(config.parts.values())
  if len(parts) == 1:
    return exchange.module(parts[0], "keras").param_map(parts[0])
  return KERAS.dense("img/head", "layers/pali_gemma_vit/layers/dense") + [
      mapping for part in parts for mapping in exchange.module(part, "keras").param_map(part, True)]


def constants(config):
  """{dataset: array} that a file has beside the parameters."""
  if config.logit_specs:
    return (vision_tower.constants(config.img, vision_tower.ROOT)
            | text_tower.constants(config.txt, text_tower.ROOT))
  if config.llm:
    return {}
  part, = config.parts.values()
  return exchange.module(part, "keras").constants(part)
