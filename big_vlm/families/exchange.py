"""What each family's folder says for other formats: hf.py, keras.py, npz.py and presets.py.

  hf      ARCHITECTURES {model_type: class}, PART, SPELLINGS, IGNORED; import_config(config.json,
          where, in_paligemma=False), export_config(config), param_map(config, root, padding)
  keras   NAME, CLASSES, PART, TEXT_LENGTH (decoders); import_config, export_config, param_map
  npz     MARKS: the leaves that tell the family; config_from_shapes(shapes, multimodal)
  presets MODELS {words: variant}, KAGGLE, HUGGING_FACE, SIZES, family_name(config), make(...)

Each import_config gives the family's own config, each param_map a list of ParamMappings.
"""
import importlib

from big_vlm.families import paligemma

FAMILIES = ("gemma", "opt", "siglip")  # the folders beside this file


def modules(kind):
  """The module `kind` ("hf", "keras", "npz" or "presets") of every family."""
  return [importlib.import_module(f"big_vlm.families.{family}.{kind}") for family in FAMILIES]


def module(config, kind):
  """The module `kind` of the family that a tower's or decoder's config belongs to."""
  return importlib.import_module(f"{type(config).__module__.rpartition('.')[0]}.{kind}")


def check_head(config):
  """Raises unless a PaliGemmaConfig's tower gives what its decoder takes."""
  if config.img.pool != "none" or config.img.out_width != config.llm.width:
    raise ValueError("a PaliGemma whose tower is pooled or has no head of the decoder's width")


def alone(part, config):
  """The PaliGemmaConfig of a tower (part "img") or a decoder (part "llm") alone."""
  return paligemma.PaliGemmaConfig(**{"img": None, "llm": None, part: config})
