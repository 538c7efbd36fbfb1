"""PEFT's adapter folders: what `peft` opens over a Hugging Face model, written and read.

  adapter_config.json            r, lora_alpha, target_modules, the base's name
  adapter_model.safetensors      base_model.model.<module>.lora_A.weight [r, in]
                                 base_model.model.<module>.lora_B.weight [out, r]

A convolution has lora_A [r, in, p, q] and lora_B [out, r, 1, 1]. Modules are named as in a model of
transformers 5 in memory; param_map of families/*/hf.py gives the places of our weights.
"""
import json
import math
import pathlib
import re

import numpy as np

from big_vlm.adapt import lora
from big_vlm.checkpoints import hf
from big_vlm.families import paligemma_hf
from big_vlm.formats import param_map, safetensors
from big_vlm.formats.lazy_array import from_array
from big_vlm.formats.param_map import ParamMapping

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ROOT = "base_model.model."
IN_MEMORY = [  # from hub spelling, hf.py, to that of a model in memory
    (r"^language_model\.model\.", "model.language_model."),
    (r"^vision_tower\.vision_model\.", "model.vision_tower."),
    (r"^(?=multi_modal_projector\.)", "model."),
    (r"^vision_model\.", "")]
# Keys of adapter_config.json. USED give the numbers. HARMLESS may have any value: they say where
# adapters are, which the tensors show, or how they were trained. FIXED have the values that are
# understood. Every other key, known to PEFT or not, must be null, false or empty.
USED = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern")
HARMLESS = (
    "base_model_name_or_path", "revision", "task_type", "auto_mapping", "inference_mode",
    "peft_version", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
    "lora_dropout", "megatron_core", "qalora_group_size", "loftq_config", "eva_config",
    "corda_config", "lora_ga_config", "runtime_config")
FIXED = {  # the other inits (pissa, olora, corda, loftq, ...) change the base when PEFT loads them
    "peft_type": ("LORA",), "bias": ("none", None),
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva")}
PATTERN = re.compile(r"\^?([\w.|^$]|\\[.d]|\.\*|(?<=d)\+)+")  # of a module's name: no groups
MAX_CONFIG, MAX_PATTERNS = 1 << 20, 1024  # bytes; of a 27B model's modules: 434


def export(model, params, path, base=None):
  """Writes the adapters of params as the new folder `path`.

  base: name or folder of the Hugging Face model that they belong to, which AutoPeftModel loads.
  Raises ValueError for params without adapters, and for adapters that PEFT has no place for: of
  the embedding table, which is the head too, and of a pooling head.
  """
  wrappers, path = lora.adapters(params), pathlib.Path(path)
  if path.exists():
    raise FileExistsError(f"{path} exists already; give another path, or remove it first.")
  rows = _rows(model, wrappers)
  hub = param_map.export_(rows, {name: from_array(x) for name, x in _leaves(wrappers).items()})
  tensors = {ROOT + _in_memory(name): leaf for name, leaf in hub.items()}
  modules = {re.sub(r"\.lora_[AB]\.weight$", "", name).removeprefix(ROOT) for name in tensors}
  wrapper = next(iter(wrappers.values()))
  path.mkdir(parents=True)
  for _ in safetensors.write_file(path / WEIGHTS, tensors):
    pass
  config = {"peft_type": "LORA", "base_model_name_or_path": base and str(base), "r": wrapper.rank,
            "lora_alpha": wrapper.scale * wrapper.rank, "target_modules": sorted(modules),
            "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
            "task_type": "CAUSAL_LM" if model.config.llm else None}
  (path / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def load(model, params, path):
  """params with the adapters of a folder of PEFT, in the spelling of any transformers.

  What shares a leaf of ours with an adapted module (keys with values, gate with up, all layers) and
  has no adapter itself gets zeros. Modules of other ranks and scales than the first get zeros up to
  the largest rank, and their scale in B. Raises ValueError for a config that would change the
  numbers otherwise, and one that lists all tensors which are missing, unexpected or of another
  shape.
  """
  path = pathlib.Path(path)
  if not (path / CONFIG).is_file():
    raise FileNotFoundError(f"{path} is no folder of PEFT: there is no {path / CONFIG}.")
  config = _read_config(path / CONFIG)
  if not (path / WEIGHTS).is_file():
    raise FileNotFoundError(f"{path} has no {WEIGHTS}, which holds the adapter: PEFT's "
                            "save_pretrained writes it. Files that end in .bin are not read.")
  kind = paligemma_hf.export_config(model.config, "float32")["model_type"]
  found = {name.removeprefix(ROOT): leaf
           for name, leaf in safetensors.read_file(path / WEIGHTS).items()}
  modules = _modules(config, found, kind, path)
  tensors = hf.hub_spelling(found, kind, path)
  source = f"{path} (made for the base {str(config.get('base_model_name_or_path'))[:80]!r})"
  names = [row.name for row in _places(model).values() if any(
      re.sub("weight$", "lora_A.weight", n) in modules for _, n in row.pieces())]
  if not names:
    raise ValueError(f"{source} adapts no module of this model. It has {sorted(modules)[:3]}.")
  rank, scale = max(r for r, _ in modules.values()), next(iter(modules.values()))[1]
  params = lora.add(model, params, rank, "|".join(map(re.escape, names)), scale * rank)
  wrappers = lora.adapters(params)
  rows, shapes = _rows(model, wrappers), {name: x.shape for name, x in _leaves(wrappers).items()}
  shapes_there = {name: row.external_shape(shapes[row.name])
                  for row in rows for _, name in row.pieces()}
  param_map.compare(tensors, {
      name: _with_rank(name, shape, modules[name][0])
      for name, shape in shapes_there.items() if name in modules}, source)
  leaves = param_map.import_(rows, {
      name: from_array(_filled(name, shape, tensors.get(name), modules.get(name), scale, path))
      for name, shape in shapes_there.items()}, shapes, path)
  return lora.filled(params, {name: leaf.read(()) for name, leaf in leaves.items()}, path)


def _read_config(file):
  """The dict of an adapter_config.json of which all is understood, or a ValueError."""
  try:
    text = file.read_bytes()
    config = json.loads(text) if len(text) <= MAX_CONFIG else None
  except (ValueError, RecursionError) as e:
    raise ValueError(f"{file} is not valid JSON ({str(e)[:100]}): save it again.") from None
  if not isinstance(config, dict):
    raise ValueError(f"{file} is not the config of an adapter: a JSON object of at most "
                     f"{MAX_CONFIG} bytes.")
  for key, value in config.items():
    if key in FIXED:
      bad = not any(value is v or isinstance(v, str) and value == v for v in FIXED[key])
    else:
      empty = value is None or value is False or value in ({}, [])
      bad = key not in USED + HARMLESS and not empty
    if bad:
      why = f"only {' or '.join(map(repr, FIXED[key]))} is" if key in FIXED else "that is not"
      raise ValueError(f"{file}: {key[:80]} is {repr(value)[:80]}; {why} supported. Merge the "
                       "adapter in PEFT (merge_and_unload) and load the whole model.")
  config = {"r": 8, "lora_alpha": 8, **config}  # PEFT's defaults
  for key in ("rank_pattern", "alpha_pattern"):
    patterns = config[key] = {} if config.get(key) is None else config[key]
    if not isinstance(patterns, dict) or len(patterns) > MAX_PATTERNS:
      raise ValueError(f"{file}: {key} is not an object of at most {MAX_PATTERNS} names.")
    for name in patterns:
      if not PATTERN.fullmatch(name) or name.count("*") + name.count("+") > 2:
        raise ValueError(f"{file}: {key} has {name[:80]!r}; supported are names of modules such as "
                         "'q_proj' and 'layers.0.mlp', with at most two '.*' or '\\d+' in them.")
  if config.get("use_rslora") not in (None, False, True):
    raise ValueError(f"{file}: use_rslora is {config['use_rslora']!r}: it is true or false.")
  whole = lambda x: type(x) is int and 1 <= x < 2**31
  finite = lambda x: type(x) in (int, float) and 1e-30 < abs(x) < 1e30
  for key, pattern, fits, must in (("r", "rank_pattern", whole, "a whole number above 0"),
                                   ("lora_alpha", "alpha_pattern", finite, "finite, and not 0")):
    for name, value in [(key, config[key]), *config[pattern].items()]:
      if not fits(value):
        what = key if name == key else f"{pattern}[{name[:80]!r}]"
        raise ValueError(f"{file}: {what} is {repr(value)[:80]}: it must be {must}.")
  return config


def _modules(config, found, kind, path):
  """{lora_A's and lora_B's name in hub spelling: (rank, scale) of their module}.

  found: {name as in the file, without ROOT: LazyArray}; patterns are of that spelling. Raises
  ValueError for half an adapter, and for a rank that is not that of the config.
  """
  compiled = {key: [(re.compile(rf"(.*\.)?({name})$"), value) for name, value in
                    config[key].items()] for key in ("rank_pattern", "alpha_pattern")}
  of = lambda key, module, default: next(
      (value for regex, value in compiled[key] if regex.match(module)), default)
  out = {}
  for name, leaf in found.items():
    if not (match := re.fullmatch(r"(.*)\.lora_([AB])\.weight", name)):
      raise ValueError(f"{path / WEIGHTS}: {name[:200]} is unexpected: only lora_A.weight and "
                       "lora_B.weight of modules are read. Merge the adapter in PEFT.")
    module, half = match.groups()
    other = f"{module}.lora_{'B' if half == 'A' else 'A'}.weight"
    if other not in found:
      raise ValueError(f"{path / WEIGHTS}: {name} is there without {other}: the file is not whole.")
    rank = of("rank_pattern", module, config["r"])
    if tuple(leaf.shape)[half == "B":][:1] != (rank,):
      raise ValueError(f"{path / WEIGHTS}: {name} is {list(leaf.shape)}, but its rank by "
                       f"{CONFIG} is {rank}.")
    if leaf.dtype.kind not in "fV":
      raise ValueError(f"{path / WEIGHTS}: {name} is stored as {leaf.dtype}, not as a float.")
    alpha = of("alpha_pattern", module, config["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    if hub := paligemma_hf.hub_spelling(name, kind):
      out[hub] = rank, scale
    else:
      raise ValueError(f"{path / WEIGHTS}: {name} adapts a part of the base that is not used here.")
  return out


def _with_rank(name, shape, rank):
  """The shape of an A [r, ...] or B [out, r, ...] with another r."""
  axis = int(name.endswith("lora_B.weight"))
  return (*shape[:axis], rank, *shape[axis + 1:])


def _filled(name, shape, tensor, of, shared, path):
  """The array `shape` of a tensor, or of None, with zeros from its rank on, in the shared scale.

  of: (rank, scale) of its module.
  """
  out = np.zeros(shape, np.float32)
  if tensor is not None:
    rank, scale = of
    value = tensor.read(()).astype(np.float32)
    if not np.isfinite(value).all():
      raise ValueError(f"{path / WEIGHTS}: {name} holds values that are not finite.")
    is_b = name.endswith("lora_B.weight")
    out[(slice(None),) * is_b + (slice(rank),)] = value * np.float32(scale / shared if is_b else 1)
  return out


def _in_memory(name):
  for regex, replacement in IN_MEMORY:
    name = re.sub(regex, replacement, name)
  return name


def _leaves(wrappers):
  return {f"{name}/{part}": getattr(wrapper, part)
          for name, wrapper in wrappers.items() for part in ("lora_a", "lora_b")}


def _rows(model, wrappers):
  """The table of the leaves of {weight's name: LoRA}, in hub spelling."""
  places = _places(model)
  if bad := [name for name in wrappers if name not in places]:
    raise ValueError(f"PEFT has no adapters for {', '.join(bad)}: choose other LoRA targets, or "
                     "merge and export the whole model.")
  return [row for name, wrapper in wrappers.items()
          for row in _pair(places[name], wrapper.spec)]


def _places(model):
  """{weight's name: its ParamMapping} of what PEFT has adapters for."""
  return {row.name: row for row in paligemma_hf.param_map(model.config)
          if row.part == (0, 1) and not row.name.endswith("input_embedding")}


def _pair(row, spec):
  """The rows of A and B: "n d e -> (n e) d" becomes "d r -> r d" and "r n e -> (n e) r"."""
  left, right = row.pattern.split(" -> ")
  names = dict(zip(spec.weight[::-1], left.split()[::-1]))  # their pieces may lack the X
  ins, outs = (" ".join(names[c] for c in letters) for letters in (spec.ins, spec.outs))
  out, into = re.fullmatch(r"(\(.*?\)|\S+) (.*)", right).groups()
  window = "" if "(" in into else " 1" * into.count(" ")  # of a convolution
  place = lambda part: row.external.removesuffix("weight") + f"{part}.weight"
  pair = (("a", f"{ins} r -> r {into}"), ("b", f"r {outs} -> {out} r{window}"))
  return [ParamMapping(f"{row.name}/lora_{x}", place(f"lora_{x.upper()}"), pattern, row.axes)
          for x, pattern in pair]
