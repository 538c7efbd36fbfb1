"""KerasHub preset folders: config.json and .h5 weights, with the tokenizer in assets/.

A Keras object is written as {"module", "class_name", "config", "registered_name"}; registered_name
is "keras_hub>GemmaBackbone", or "keras_nlp>..." in presets of the older name. Datasets are named
after the classes of Keras layers in snake case, with _1, _2, ... from the second one of a class on;
vars/0 is a kernel or scale, vars/1 its bias. families/*/keras.py has the names.
"""
import math
import pathlib
import re

from big_vlm.checkpoints import keras_preset, keras_settings
from big_vlm.checkpoints.checkpoint import Checkpoint, shapes
from big_vlm.families import exchange, paligemma_keras
from big_vlm.formats import config_json, h5, param_map
from big_vlm.formats.lazy_array import from_array
from pp import tokenizer_files

SEEDS = r".*/seed_generator/.*"  # states of random generators in files of older Keras


def can_read(path):
  """Whether path is a preset folder: its config.json has a registered_name, that of transformers
  a model_type."""
  path = pathlib.Path(path)
  if not (path / "config.json").is_file():
    return path.is_dir() and any((path / f).is_file() for f in (h5.WEIGHTS, h5.INDEX))
  return '"registered_name"' in (path / "config.json").read_text(errors="replace")


def open_source(path):
  """The Checkpoint of a preset. Raises ValueError or FileNotFoundError, which name the file."""
  folder = pathlib.Path(path)
  config = import_config(config_json.read(folder), folder / "config.json")
  ignored = "|".join([SEEDS, *(m.IGNORED for m in exchange.modules("keras")
                               if hasattr(m, "IGNORED"))])
  tensors = {n: x for n, x in h5.read_folder(folder).items() if not re.fullmatch(ignored, n)}
  leaves = param_map.import_(paligemma_keras.param_map(config), tensors, shapes(config), path)
  reader = config.llm or config.txt
  tokenizer = reader and tokenizer_files.find(folder, multimodal=bool(config.img and config.llm))
  if tokenizer:
    tokenizer_files.check(folder, tokenizer, reader.vocab_size)
  keras_settings.check(folder, config, import_config)
  return Checkpoint(str(path), config, leaves, tokenizer, config.txt and config.txt.length)


def import_config(described, where):
  """PaliGemmaConfig of config.json's dict; where: the file, for the message of the ValueError."""
  config = described.get("config")
  if not isinstance(config, dict):
    raise ValueError(f"{where} does not describe a KerasHub backbone: it has no object 'config'.")
  if _quantized(config.get("dtype")):
    raise ValueError(f"{where}: dtype is {config['dtype']}: the weights are quantized. Take the "
                     "preset that they were made from.")
  name = str(described.get("registered_name")).rpartition(">")[2]
  try:
    return paligemma_keras.import_config(name, config, where)
  except KeyError as e:
    raise ValueError(f"{where}: the {name} has no {e}, without which the model cannot be built."
                     ) from None


def _quantized(dtype):
  """Whether a serialized dtype policy is more than the name of a float type."""
  if isinstance(dtype, dict):
    dtype = (dtype.get("config") or {}).get("name", dtype.get("class_name"))
  return dtype is not None and not re.fullmatch(r"(mixed_)?b?float(16|32)", str(dtype))


def export_config(config, dtype):
  """config.json's dict of a PaliGemmaConfig; dtype: name of the weights' dtype.

  Raises ValueError for a model that KerasHub has no class of.
  """
  try:
    described = keras_preset.described(*paligemma_keras.export_config(config), dtype)
  except ValueError as e:
    raise ValueError(f"KerasHub has no class for {e}: export it as 'native' or 'npz'.") from None
  exchange.check_export(config, import_config(described, "config.json"), "KerasHub")
  return described


def write(path, source, note, max_shard=h5.MAX_SHARD):
  """Writes a Checkpoint as a preset into the folder `path`; without a tokenizer the backbone alone.

  note(done, total): bytes of weights written. Raises ValueError, before anything is written, for a
  model or a tokenizer that KerasHub has no class of.
  """
  source = source.with_text_head()
  config = source.config
  backbone = export_config(config, source.dtype)
  source.check()
  tensors = param_map.export_(paligemma_keras.param_map(config), source.leaves)
  tensors |= {n: from_array(x) for n, x in paligemma_keras.constants(config).items()}
  parameters = sum(math.prod(leaf.shape) for leaf in tensors.values())
  keras_preset.write(path, backbone, parameters, source.tokenizer,
                     paligemma_keras.preprocessing(config))
  h5.write_folder(path, tensors, note, max_shard)
