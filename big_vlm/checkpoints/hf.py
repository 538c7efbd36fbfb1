"""Hugging Face folders: config.json, safetensors and tokenizer files of transformers.

Tensors are named here as in the released files ("hub spelling"), to which families/*/hf.py lead the
other spellings. Folders are written in hub spelling, which every version of transformers loads.
"""
import pathlib

import numpy as np

from big_vlm.checkpoints import hf_settings, hf_tokenizer
from big_vlm.checkpoints.checkpoint import Checkpoint, shapes
from big_vlm.families import exchange, paligemma_hf
from big_vlm.formats import config_json, param_map, safetensors
from pp import tokenizer_files

BLOCK = 16_384  # rows of the head compared at once
_NOT_A_MODEL = {
    "adapter_config.json": (
        "is a PEFT adapter: the small difference to a base model, not a model. Merge it into its "
        "base in PEFT (model.merge_and_unload().save_pretrained(...)) and give that folder."),
    "*.gguf": ("holds GGUF files, which are made for llama.cpp and mostly quantized. Give the "
               "safetensors folder that they were made from."),
    "pytorch_model*.bin*": (
        "holds its weights as pytorch_model.bin, a pickle, which can run any code when it is read "
        "and is therefore refused. Load it in transformers and save it again: save_pretrained "
        "writes safetensors."),
}


def can_read(path):
  """Whether path is a folder of transformers (or a near relative, for open_source to refuse)."""
  path = pathlib.Path(path)
  if path.suffix in (".safetensors", ".gguf"):
    return True
  if (path / "config.json").is_file():  # KerasHub's has a registered_name
    return '"registered_name"' not in (path / "config.json").read_text(errors="replace")
  return path.is_dir() and any(any(path.glob(p)) for p in ["*.safetensors", *_NOT_A_MODEL])


def open_source(path):
  """The Checkpoint of a folder. Raises ValueError or FileNotFoundError, which name the file."""
  folder = pathlib.Path(path)
  _check_kind(folder)
  described, where = config_json.read(folder), folder / "config.json"
  if not isinstance(described.get("model_type"), str):
    raise ValueError(f"{where} has no 'model_type', so it does not describe a model of "
                     "transformers.")
  config = paligemma_hf.import_config(described, where)
  stored = safetensors.read_folder(folder)
  _check_head(stored, path)
  tensors = hub_spelling(stored, described["model_type"], path)
  mappings = paligemma_hf.param_map(config, paligemma_hf.padding_rows(described))
  leaves = param_map.import_(mappings, tensors, shapes(config), path)
  tokenizer = tokenizer_files.find(folder, multimodal=None not in (config.img, config.llm))
  if tokenizer and (reader := config.llm or config.txt):
    tokenizer_files.check(folder, tokenizer, reader.vocab_size)
  hf_settings.check(folder, described, config, tokenizer)
  return Checkpoint(str(path), config, leaves, tokenizer, config.txt and config.txt.length)


def _check_head(tensors, path):
  """Raises ValueError for a head that is not the embedding table: ours is always tied to it."""
  for name, head in tensors.items():
    if name.endswith("lm_head.weight"):
      table = next((x for n, x in tensors.items() if n.endswith("embed_tokens.weight")), head)
      rows = [slice(i, i + BLOCK) for i in range(0, head.shape[0], BLOCK)] if head.shape else []
      if head.shape != table.shape or any(
          not np.array_equal(head.read((r,)), table.read((r,))) for r in rows):
        raise ValueError(f"{path}: {name} differs from the embedding table. The head is tied to "
                         "the table here; a model with a head of its own is not supported.")


def _check_kind(folder):
  if folder.suffix == ".safetensors" and folder.is_file():
    raise ValueError(f"{folder} is one file of a model: give the folder that holds it and its "
                     "config.json.")
  if folder.suffix == ".gguf":
    raise ValueError(f"{folder.parent} {_NOT_A_MODEL['*.gguf']}")
  for pattern, reason in _NOT_A_MODEL.items():  # some repositories hold several formats
    if any(folder.glob(pattern)) and not any(folder.glob("model*.safetensors")):
      raise ValueError(f"{folder} {reason}")


def hub_spelling(tensors, model_type, path):
  """{name: LazyArray} of what is read, with names as in released files."""
  out = {}
  for name, leaf in tensors.items():
    hub = paligemma_hf.hub_spelling(name, model_type)
    if hub in out:
      raise ValueError(f"{path}: {hub} is there twice, once spelt {name}.")
    if hub:
      out[hub] = leaf
  return out


def write(path, source, note, max_shard=safetensors.MAX_SHARD):
  """Writes a Checkpoint into the folder `path`: config.json, weights, tokenizer, processor.

  note(done, total): bytes of weights written. Raises ValueError, before anything is written, for a
  model that transformers has no class of.
  """
  source = source.with_text_head()
  folder, config = pathlib.Path(path), source.config
  described = paligemma_hf.export_config(config, source.dtype)
  again = paligemma_hf.import_config(described, "config.json")
  exchange.check_export(config, again, "transformers")
  source.check()
  folder.mkdir(parents=True, exist_ok=True)
  hf_tokenizer.write(folder, described, source.tokenizer)
  tensors = param_map.export_(paligemma_hf.param_map(config), source.leaves)
  safetensors.write_folder(folder, tensors, note, max_shard)
