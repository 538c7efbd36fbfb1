"""What each family's folder says for other formats: hf.py, keras.py, npz.py and presets.py.

  hf       ARCHITECTURES {model_type: class}, PALIGEMMA: those that transformers' PaliGemma takes,
           SPELLINGS, IGNORED; import_config(config.json, where, in_paligemma=False),
           export_config(config), param_map(config, root="", padding=0)
  keras    CLASSES, PALIGEMMA: whether KerasHub's PaliGemma takes it, of decoders TEXT_LENGTH and
           BYTE_LEVEL; import_config, export_config, param_map
  npz      MARKS: leaves that tell the family; config_from_shapes(shapes, multimodal)
  presets  MODELS {words: variant}, KAGGLE, HUGGING_FACE, SIZES; family_name(config)

import_config gives the family's own config, export_config what is written for it, param_map its
ParamMappings.
"""
import importlib

from big_vlm import families
from big_vlm.families import paligemma


def modules(kind):
  """{module `kind` ("hf", "keras", "npz" or "presets") of a family: "img" or "llm"}."""
  return {_module(family, kind): prefix[:-1] for family, prefix in families.PREFIXES.items()}


def module(config, kind):
  """The module `kind` of the family that a tower's or decoder's config belongs to."""
  return _module(families.of(config), kind)


def _module(family, kind):
  return importlib.import_module(f"{family.__name__}.{kind}")


def alone(part, config):
  """The PaliGemmaConfig of a tower (part "img") or a decoder (part "llm") alone."""
  return paligemma.PaliGemmaConfig(**{"img": None, "llm": None, part: config})


def check_head(config):
  """Raises unless a PaliGemmaConfig's tower gives what its decoder takes."""
  if config.img.pool != "none" or config.img.out_width != config.llm.width:
    raise ValueError("a PaliGemma whose tower is pooled or has no head of the decoder's width")
