"""Our own checkpoints: a work folder with model.json, tokenizer and Orbax steps.

    W/model.json               model config and tokenizer: all that from_preset needs
    W/tokenizer.model          or the files of another kind of tokenizer: pp/tokenizer_files.py
    W/checkpoints/1200/params  one folder a step, see steps.py
    W/checkpoints/1200/train   step and optimizer state, which only a resumed training reads

The mesh is not part of the format: any device count restores what any other saved.
"""
import json
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from big_vlm import files, trees
from big_vlm.adapt import materialize
from big_vlm.checkpoints import steps
from big_vlm.checkpoints.checkpoint import Checkpoint
from big_vlm.checkpoints.steps import Checkpoints
from big_vlm.families import paligemma
from big_vlm.formats import config_json, orbax_tree
from pp import tokenizer_files
from pp.foreign import parse_json, read_bytes
from pp.printable import printable

FORMAT = 1


def with_sharding(shapes, shardings):
  """ShapeDtypeStructs that say where restore() is to put each leaf."""
  return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
                      shapes, shardings)


class Description(NamedTuple):
  """What model.json says; a field that it lacks is None."""
  folder: epath.Path
  step: int | None  # that the path asked for
  model: dict  # as paligemma.config takes it
  tokenizer: str | None
  lora_scale: float | None
  text_len: int | None


def write_model(workdir, model, tokenizer, lora_scale=None, text_len=None):
  """Writes model.json and copies of the files that the tokenizer string, if any, names.

  lora_scale: alpha / rank where the parameters have adapters. text_len: tokens of prompt and answer
  that the model is trained with.
  """
  folder = epath.Path(workdir)
  folder.mkdir(parents=True, exist_ok=True)
  saved = None if tokenizer is None else tokenizer_files.save(tokenizer, folder)
  text = json.dumps({"format": FORMAT, "model": model, "tokenizer": saved,
                     "lora_scale": lora_scale, "text_len": text_len}, indent=2)
  files.write_atomic(folder / "model.json", text + "\n")


def read_model(source):
  """The Description of a work folder W.

  source: W or W/checkpoints/STEP; the step is None for W. Raises FileNotFoundError for another
  folder and ValueError for a model.json of another format.
  """
  folder, step = _folder_and_step(source)
  path = epath.Path(files.inside(folder, "model.json"))
  try:
    description = parse_json(read_bytes(path, config_json.MAX_BYTES), path)
  except FileNotFoundError as e:
    raise FileNotFoundError(
        f"{source} is not a checkpoint of big_vlm: there is no {path}. Give the --workdir of a "
        "training, or one of its checkpoints/STEP folders.") from e
  except ValueError as e:
    raise ValueError(f"{path} is not JSON: {e}. Restore it, or resume the training once, which "
                     "writes it.") from e
  found = description if isinstance(description, dict) else {}
  if found.get("format", FORMAT) != FORMAT:
    raise ValueError(f"{path} has format {printable(found['format'])}; this version reads format "
                     f"{FORMAT}.")
  model, saved, scale, text_len = (
      found.get(key) for key in ("model", "tokenizer", "lora_scale", "text_len"))
  if not (isinstance(model, dict) and model.keys() <= {"img", "txt", "llm", "dtype"}
          and isinstance(scale, int | float | None) and isinstance(text_len, int | None)):
    raise ValueError(f"{path} does not describe a model: it has \"model\": {{\"img\": {{...}}, "
                     "\"llm\": {...}}, and a number or null as \"lora_scale\" and \"text_len\".")
  config_json.check_sizes(model, path)
  tokenizer = None if saved is None else tokenizer_files.load(saved, folder)
  for file in tokenizer_files.files(tokenizer).values() if tokenizer else ():
    files.inside(folder, epath.Path(file).name)  # a link would put another file into exports
  return Description(folder, step, paligemma.modernize(model), tokenizer, scale, text_len)


def _folder_and_step(source):
  folder = epath.Path(source)
  if folder.parent.name == "checkpoints" and folder.name.isdigit():
    return folder.parent.parent, int(folder.name)
  return folder, None


def can_read(path):
  folder, _ = _folder_and_step(path)
  return (folder / "model.json").exists()


def open_source(path):
  """The newest complete checkpoint of a work folder, or that of W/checkpoints/STEP.

  A folder without a finished checkpoint gives a Checkpoint without leaves. Raises ValueError for a
  corrupt step.
  """
  folder, step, model, tokenizer, lora_scale, text_len = read_model(path)
  try:
    config = paligemma.config(**model)
  except (TypeError, ValueError, AttributeError) as e:
    raise ValueError(f"{folder / 'model.json'}: {e}") from e
  if step is None:
    step = steps.newest(folder / "checkpoints", only="params/")
  elif error := steps.validation_error(folder / "checkpoints" / str(step), only="params/"):
    raise ValueError(f"{path}: {error}. Give another step, or {folder} for its newest complete "
                     "one.")
  else:
    steps.note_unsealed(folder / "checkpoints" / str(step))
  if step is None:
    return Checkpoint(str(folder), config, {}, tokenizer, text_len)
  step_folder = folder / "checkpoints" / str(step)
  leaves = orbax_tree.read_folder(step_folder / "params")
  plain = materialize.materialize_weights(leaves, config, lora_scale)
  return Checkpoint(str(step_folder), config, plain, tokenizer, text_len,
                    leaves if set(leaves) != set(plain) else None, lora_scale)


def write(path, source, note):
  """Writes the Checkpoint as step 0 of the new work folder `path`; holds all of it in memory."""
  leaves, done, wanted = {}, 0, source.stored if source.quantized else source.leaves
  total = sum(leaf.nbytes for leaf in wanted.values())
  for name, leaf in wanted.items():
    leaves[name] = np.asarray(leaf.read(()))
    done += leaf.nbytes
    note(done, total)
  write_model(path, paligemma.to_dict(source.config), source.tokenizer, text_len=source.text_len)
  with Checkpoints(path) as checkpoints:
    checkpoints.save(0, {"params": trees.nested(leaves)})
