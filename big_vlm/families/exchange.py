"""What each family's folder says for other formats: hf.py, keras.py, npz.py and presets.py.

  hf       ARCHITECTURES {model_type: class}, PALIGEMMA: those that transformers' PaliGemma takes,
           SPELLINGS [(regex, replacement)] from other spellings of names to that of param_map,
           IGNORED: regex of leaves that are left out; export_config(config),
           import_config(config.json, where, in_paligemma=False),
           param_map(config, root="", padding=0)
  keras    CLASSES, PALIGEMMA: whether KerasHub's PaliGemma takes it, of decoders TEXT_LENGTH and
           BYTE_LEVEL; import_config, export_config, param_map. If needed, ROOT: where a class
           of CLASSES keeps the leaves of param_map, IGNORED, and of towers constants(config):
           {name: array} that an export writes and an import ignores
  npz      MARKS: leaves that tell the family; config_from_shapes(shapes, multimodal); if needed,
           import_names(leaves, path): leaves under older names -> under ours, and
           import_leaves(leaves, config), export_leaves(leaves, config): from and to the shapes
           that files have
  presets  MODELS {words: variant}, KAGGLE, HUGGING_FACE, SIZES; family_name(config)

import_config gives the family's own config, export_config what is written for it, param_map its
ParamMappings.
"""
import dataclasses
import importlib

from big_vlm import families
from big_vlm.families import paligemma

# Fields that say how a model runs, or how it begins, not what it computes.
RUNTIME = {"dtype", "remat", "attention", "unroll", "dropout", "zero_head", "temperature_init",
           "bias_init"}


def modules(kind):
  """{module `kind` ("hf", "keras", "npz" or "presets") of a family: "img", "txt" or "llm"}."""
  return {_module(family, kind): prefix[:-1] for family, prefix in families.PREFIXES.items()}


def module(config, kind):
  """The module `kind` of the family that a tower's or decoder's config belongs to."""
  return _module(families.of(config), kind)


def _module(family, kind):
  return importlib.import_module(f"{family.__name__}.{kind}")


def alone(part, config):
  """The PaliGemmaConfig of a tower (part "img" or "txt") or a decoder (part "llm") alone."""
  return paligemma.PaliGemmaConfig(**{"img": None, "llm": None, part: config})


def check_head(config):
  """Raises unless a PaliGemmaConfig's tower gives what its decoder takes."""
  if config.img.pool != "none" or config.img.out_width != config.llm.width:
    raise ValueError("a PaliGemma whose tower is pooled or has no head of the decoder's width")


def check_export(config, again, framework):
  """Raises ValueError for a field that changes the numbers and that an export does not say.

  again: the PaliGemmaConfig that is read from what the export of `config` would write.
  """
  for part in ("img", "txt", "llm"):
    ours, read = (_computation(c, part) for c in (config, again))
    for name, value in ours.items():
      if value != read.get(name, value):
        raise ValueError(
            f"The config of {framework} cannot say {part}.{name}={value!r} of this model: read "
            f"back it is {read[name]!r}, which gives other numbers. Export it as 'native'.")


def _computation(config, part):
  """{field: value} of what a tower or a decoder computes, defaults written out."""
  c = getattr(config, part)
  if c is None:
    return {}
  values = {f.name: getattr(c, f.name) for f in dataclasses.fields(c) if f.name not in RUNTIME}
  values.pop("max_positions", None)  # a limit; OPT's rows are compared with its table
  if "query_scale" in values:
    values["query_scale"] = round(c.query_scale or c.head_dim**-0.5, 9)
    values["global_rope_base"] = c.global_rope_base or c.rope_base
    if c.window is None or config.img is None:  # all text is causal
      del values["sliding_window_mode"]
    if c.window is None and (values["global_rope_base"], c.global_rope_scale) == (c.rope_base, 1):
      del values["global_every"]
  return values
