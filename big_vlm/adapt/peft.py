"""PEFT's adapter folders: what `peft` opens over a Hugging Face model, written and read.

  adapter_config.json            r, lora_alpha, target_modules, the base's name
  adapter_model.safetensors      base_model.model.<module>.lora_A.weight [r, in]
                                 base_model.model.<module>.lora_B.weight [out, r]

A convolution has lora_A [r, in, p, q] and lora_B [out, r, 1, 1]. Modules are named as in a model of
transformers 5 in memory; param_map of families/*/hf.py gives the places of our weights.
"""
import json
import pathlib
import re

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
# What would change the numbers and has no counterpart here: {key: allowed values}.
FIXED = dict(peft_type=("LORA",), use_dora=(False, None), use_rslora=(False, None),
             bias=("none", None), rank_pattern=({}, None), alpha_pattern=({}, None),
             lora_bias=(False, None), modules_to_save=(None, []))


def export(model, params, path, base=None):
  """Writes the adapters of params as the new folder `path`.

  base: name or folder of the Hugging Face model that they belong to, which AutoPeftModel loads.
  Raises ValueError for params without adapters, and for adapters that PEFT has no place for: of
  the embedding table, which is the head too, and of a pooling head.
  """
  wrappers, path = lora.adapters(params), pathlib.Path(path)
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

  Raises ValueError for a config that would change the numbers otherwise, and one that lists all
  tensors which are missing, unexpected or of another shape.
  """
  path = pathlib.Path(path)
  config = json.loads((path / CONFIG).read_text())
  for key, allowed in FIXED.items():
    if config.get(key, allowed[0]) not in allowed:
      raise ValueError(f"{path / CONFIG}: {key} is {config[key]!r}; only {allowed[0]!r} is "
                       "supported. Merge the adapter in PEFT and load the whole model.")
  tensors = {name.removeprefix(ROOT): leaf
             for name, leaf in safetensors.read_file(path / WEIGHTS).items()}
  kind = paligemma_hf.export_config(model.config, "float32")["model_type"]
  tensors = hf.hub_spelling(tensors, kind, path)
  held = {re.sub(r"lora_[AB]\.weight$", "weight", name) for name in tensors}
  names = [row.name for row in paligemma_hf.param_map(model.config)
           if any(n in held for _, n in row.pieces())]
  if not names:
    raise ValueError(f"{path} adapts no module of this model. It has {sorted(held)[:3]}.")
  params = lora.add(model, params, config["r"], "|".join(map(re.escape, names)),
                    config["lora_alpha"])
  wrappers = lora.adapters(params)
  shapes = {name: x.shape for name, x in _leaves(wrappers).items()}
  leaves = param_map.import_(_rows(model, wrappers), tensors, shapes, path)
  return lora.filled(params, {name: leaf.read(()) for name, leaf in leaves.items()}, path)


def _in_memory(name):
  for regex, replacement in IN_MEMORY:
    name = re.sub(regex, replacement, name)
  return name


def _leaves(wrappers):
  return {f"{name}/{part}": getattr(wrapper, part)
          for name, wrapper in wrappers.items() for part in ("lora_a", "lora_b")}


def _rows(model, wrappers):
  """The table of the leaves of {weight's name: LoRA}, in hub spelling."""
  places = {row.name: row for row in paligemma_hf.param_map(model.config)
            if row.part == (0, 1) and not row.name.endswith("input_embedding")}
  if bad := [name for name in wrappers if name not in places]:
    raise ValueError(f"PEFT has no adapters for {', '.join(bad)}: choose other LoRA targets, or "
                     "merge and export the whole model.")
  return [row for name, wrapper in wrappers.items()
          for row in _pair(places[name], wrapper.spec)]


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
