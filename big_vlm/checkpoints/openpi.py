"""openpi's checkpoints of robots: the PaliGemma inside, and the way back.

    STEP/params/                          Orbax: _METADATA, manifest.ocdbt, d/...; also given itself
    FOLDER/model.safetensors, config.json torch, of openpi's converter or of LeRobot

open_source() reads the PaliGemma; the action expert and the projections stay in Checkpoint.aside.
write() makes the .npz with which openpi starts a training (its PaliGemmaWeightLoader), write_into()
a whole checkpoint with a changed PaliGemma. Which leaf is what is in families/paligemma_openpi.py.
"""
import contextlib
import dataclasses
import math
import os
import pathlib
import re
import shutil
from typing import Any

import ml_dtypes
import numpy as np

from big_vlm import files
from big_vlm.checkpoints import npz
from big_vlm.checkpoints.checkpoint import Checkpoint, shapes
from big_vlm.families import paligemma_hf, paligemma_openpi
from big_vlm.formats import npz as npz_format
from big_vlm.formats import orbax_tree, param_map, safetensors
from pp import tokenizer_files

WEIGHTS, PARAMS, METADATA = "model.safetensors", "params", "_METADATA"
LEROBOT = "model."  # before every name
TABLE = "language_model.model.embed_tokens.weight"
CACHE = "~/.cache/openpi"  # or $OPENPI_DATA_HOME
TOKENIZER, ROWS = "big_vision/paligemma_tokenizer.model", 257_152  # there; its pieces
UNLIMITED = 1 << 62  # bytes: LeRobot reads one file


@dataclasses.dataclass(frozen=True)
class _Robot:
  """A whole checkpoint."""
  framework: str  # "jax" or "torch"
  kind: str  # "pi0", "pi05" or "pi0_fast"
  stored: dict  # {name in the files: LazyArray}
  inner: dict  # {name in the files: that of big_vision or transformers} of the PaliGemma's leaves
  aside: dict  # {name: LazyArray} of all others
  config: Any  # PaliGemmaConfig

  @property
  def own(self):
    """{name of big_vision or transformers: LazyArray} of the PaliGemma."""
    return {inner: self.stored[name] for name, inner in self.inner.items()}


def can_read(path):
  """Whether path is a folder of openpi's (or one of Orbax, which open_source refuses by name)."""
  path = pathlib.Path(path)
  if _params(path) or _steps(path):
    return True
  with contextlib.suppress(ValueError, OSError):  # a damaged file is for hf.py to name
    return (path / WEIGHTS).is_file() and any(
        paligemma_openpi.TORCH_ROOT in name for name in safetensors.read_file(path / WEIGHTS))
  return False


def _params(path):
  """The folder of Orbax at the path or in it, or None."""
  return next((p for p in (path, path / PARAMS) if (p / METADATA).is_file()), None)


def _steps(path):
  """The steps of an experiment's folder."""
  names = [p.parent.parent.name for p in path.glob(f"*/{PARAMS}/{METADATA}")]
  return sorted((n for n in names if n.isdigit()), key=int)


def open_source(path):
  """The Checkpoint of the PaliGemma; prints what stays aside.

  Raises one ValueError that lists leaves which are missing, of no part, or of other shapes.
  """
  path = pathlib.Path(path)
  robot = _read(path)
  if robot.framework == "jax":
    leaves = paligemma_openpi.merge_lora(robot.own, path)
  else:
    leaves = param_map.import_(paligemma_hf.param_map(robot.config, 0), robot.own,
                               shapes(robot.config), path)
  found = Checkpoint(str(path), robot.config, leaves, _tokenizer(path, robot.config),
                     paligemma_openpi.TEXT_LEN[robot.kind], aside=robot.aside)
  found.check()
  print(f"{path}: the PaliGemma of a {paligemma_openpi.WORDS[robot.kind]}{_listed(robot.aside)}")
  return found


def stored(path):
  """{name in the files: LazyArray} of all leaves. Raises as open_source() does, and ValueError for
  a path that is not of openpi."""
  if not can_read(path):
    raise ValueError(f"{path} is neither a step of openpi (params/) nor a folder of its or "
                     "LeRobot's model.safetensors.")
  return _read(pathlib.Path(path)).stored


def _listed(aside):
  if not aside:
    return ""
  names = dict.fromkeys(re.sub(r"layers\.\d+", "layers.*", name) for name in sorted(aside))
  count = sum(math.prod(x.shape) for x in aside.values())
  return (f"; {len(aside)} leaves ({count:,} parameters) of the action expert and the projections "
          f"stay aside: {', '.join(names)}")


def _tokenizer(path, config):
  """The tokenizer string of a file in the folder, or of openpi's cache; None: there is none."""
  if found := tokenizer_files.find(path, multimodal=True):
    tokenizer_files.check(path, found, config.llm.vocab_size)
    return found
  home = pathlib.Path(os.environ.get("OPENPI_DATA_HOME", CACHE)).expanduser()
  if config.llm.vocab_size == ROWS and (home / TOKENIZER).is_file():
    return f"sp(model={str(home / TOKENIZER)!r}, tokensets=('loc', 'seg'))"
  return None


def _read(path):
  """The _Robot of a folder. Raises ValueError for what is not one, or not whole."""
  if params := _params(path):
    stored = orbax_tree.read_folder(params)
    suffix = "/value" if all(n.endswith("/value") for n in stored) else ""  # of flax.nnx
    return _robot("jax", stored, "params/", suffix, path)
  if not (path / WEIGHTS).exists():
    steps = _steps(path)
    raise ValueError(f"{path} holds several steps of openpi ({', '.join(steps)}): give one, such "
                     f"as {path / steps[-1]}.")
  stored = safetensors.read_file(path / WEIGHTS)
  prefix = LEROBOT if all(name.startswith(LEROBOT) for name in stored) else ""
  return _robot("torch", stored, prefix, "", path)


def _robot(framework, stored, prefix, suffix, path):
  root = paligemma_openpi.ROOT if framework == "jax" else paligemma_openpi.TORCH
  names = {n: n.removeprefix(prefix).removesuffix(suffix) for n in stored}
  if not any(n.startswith(prefix + root) for n in stored):
    raise ValueError(
        f"{path} is not a checkpoint of openpi: nothing in it is below {prefix + root}. Found: "
        f"{', '.join(sorted(stored)[:4])}. Of a training of big_vlm give the work folder, or its "
        "checkpoints/STEP.")
  kind, beside = paligemma_openpi.aside(set(names.values()), framework, path)
  inner = {n: mine.removeprefix(root) for n, mine in names.items() if mine not in beside}
  aside = {mine: stored[n] for n, mine in names.items() if mine in beside}
  if framework == "jax":
    described = npz.config_from_shapes({mine: stored[n].shape for n, mine in inner.items()}, path)
    if not described.img or described.img.positions != "learn":  # others have no such table
      raise ValueError(f"{path} is not whole: {root}img/pos_embedding is missing.")
  else:
    inner = {n: _hub_name(mine) for n, mine in inner.items()}
    _check_table([stored[n] for n, mine in inner.items() if mine == TABLE], path)
    described = paligemma_openpi.config_of_torch(
        {mine: stored[n].shape for n, mine in inner.items()}, path)
  return _Robot(framework, kind, stored, inner, aside, described)


def _hub_name(name):
  """A PaliGemma's name as in released files; the head is the table."""
  return TABLE if name.endswith("lm_head.weight") else (
      paligemma_hf.hub_spelling(name, "paligemma") or name)


def _check_table(tables, path):
  """Of the tied head and table one is stored; raises ValueError where both are and differ."""
  if len(tables) == 2 and not (tables[0].shape == tables[1].shape and np.array_equal(
      tables[0].read(()), tables[1].read(()))):
    raise ValueError(f"{path}: lm_head.weight differs from the embedding table. The head is tied "
                     "to the table here; a model with a head of its own is not supported.")


def write(path, source, note):
  """Writes path (.npz): float32 or float16, under the names that openpi's loader looks for. What
  has another name it would leave random, without a word.

  Raises ValueError for a model that is not a PaliGemma 1; prints in what it is not the released
  one, which openpi's training then refuses by its shape.
  """
  paligemma_openpi.check_export(source.config)
  source.check()
  if odd := paligemma_openpi.differences(source.config):
    print(f"openpi's configs take a PaliGemma 3B at 224; this model has {', '.join(odd)}.")
  single = {n: paligemma_openpi.cast(x, np.dtype(np.float32))
            if x.dtype == ml_dtypes.bfloat16 else x for n, x in source.leaves.items()}
  npz_format.write_file(path, {f"params/{name}": x for name, x in single.items()}, note)


def write_into(path, source, full, note=lambda done, total: None):
  """Writes the folder `path`: the checkpoint `full` of openpi's with the PaliGemma of the
  Checkpoint `source`. Every other leaf, and what lies beside the weights, is copied bit for bit; a
  training's optimizer state, which is of other parameters, is not.

  Raises ValueError where the PaliGemma is not of the same shapes.
  """
  path, full = pathlib.Path(path), pathlib.Path(full)
  robot = _read(full)
  param_map.compare(source.leaves, shapes(robot.config), source.path)
  ours = source.leaves if robot.framework == "jax" else param_map.export_(
      paligemma_hf.param_map(robot.config, 0), source.leaves)
  leaves = paligemma_openpi.put_back(ours, robot.inner, robot.stored)
  path.mkdir(parents=True, exist_ok=True)
  if robot.framework == "torch":
    _copy_beside(full, path)
    safetensors.write_folder(path, leaves, note, UNLIMITED)
    return
  params = _params(full)
  if params != full:
    _copy_beside(full, path)
  orbax_tree.write_folder(path / PARAMS, leaves, note)


def _copy_beside(full, path):
  """Copies assets/ and the small files of a checkpoint."""
  for entry in sorted(full.iterdir()):
    if entry.is_file() and entry.name != WEIGHTS:
      shutil.copyfile(files.inside(full, entry.name), path / entry.name)
  for file in sorted((full / "assets").rglob("*")) if (full / "assets").is_dir() else ():
    if file.is_file():
      target = path / file.relative_to(full)
      target.parent.mkdir(parents=True, exist_ok=True)
      shutil.copyfile(files.inside(full, str(file.relative_to(full))), target)
