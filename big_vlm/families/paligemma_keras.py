"""PaliGemma in KerasHub: one flat config and one file of a tower and a decoder.

A tower or a decoder alone goes to its family whole.
"""
import dataclasses

from big_vlm.families import exchange, paligemma
from big_vlm.formats import foreign_keys
from big_vlm.formats.param_map import KERAS
from pp.names import near_miss

CLASS = "PaliGemmaBackbone"
TEXT_LENGTH = 512  # tokens that its preprocessor packs


def import_config(name, config, where):
  """PaliGemmaConfig of a backbone of the class `name`. Raises ValueError for one that differs."""
  families = exchange.modules("keras")
  classes = {c: m for m in families for c in m.CLASSES} | {CLASS: None}
  if name not in classes:
    raise ValueError(f"{where} is of the class {name!r}, which is not supported."
                     f"{near_miss(name, classes)} Known: {', '.join(sorted(classes))}.")
  if module := classes[name]:
    return exchange.alone(families[module], module.import_config(config, where))
  parts = [next(m for m, p in families.items() if p == part and m.PALIGEMMA)
           for part in ("img", "llm")]
  foreign_keys.check(config, foreign_keys.KERAS, where, parts[0].PALIGEMMA_READ | parts[1].READ)
  img, llm = (part.import_config(config, where, True) for part in parts)
  return paligemma.PaliGemmaConfig(dataclasses.replace(img, out_width=llm.width), llm)


def export_config(config):
  """(class, its own config) of a PaliGemmaConfig. Raises ValueError for a model without a class."""
  if not config.img or not config.llm:
    part = config.img or config.llm
    module = exchange.module(part, "keras")
    return module.CLASSES[0], module.export_config(part)
  tower, decoder = (exchange.module(part, "keras") for part in (config.img, config.llm))
  if not decoder.PALIGEMMA:
    name = decoder.CLASSES[0].removesuffix("Backbone")
    raise ValueError(f"a vision tower with an {name} decoder")
  exchange.check_head(config)
  return CLASS, decoder.export_config(config.llm, True) | tower.export_config(config.img, True)


def preprocessing(config):
  """(tokens that the preprocessor packs, whether its tokenizer is a byte-level BPE), or None for a
  tower alone, which has no preprocessor."""
  if config.llm is None:
    return None
  decoder = exchange.module(config.llm, "keras")
  return TEXT_LENGTH if config.img else decoder.TEXT_LENGTH, decoder.BYTE_LEVEL


def param_map(config):
  """The ParamMappings of a PaliGemmaConfig."""
  parts = [part for part in (config.img, config.llm) if part]
  if len(parts) == 1:
    return exchange.module(parts[0], "keras").param_map(parts[0])
  return KERAS.dense("img/head", "layers/pali_gemma_vit/layers/dense") + [
      mapping for part in parts for mapping in exchange.module(part, "keras").param_map(part, True)]


def constants(config):
  """{dataset: array} that a file has beside the parameters."""
  module = exchange.module(config.img, "keras") if config.llm is None else None
  return {} if module is None else module.constants(config.img)
