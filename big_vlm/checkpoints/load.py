"""From a checkpoint of any format to parameters on a mesh: strict, leaf by leaf.

The loader adapts the image size (it resamples the position table), the vocabulary (it adds rows)
and the dtype. Where parts come from several checkpoints, what they lack is randomly initialized.
Every other difference is listed in one error.
"""
import dataclasses
import math
import pathlib
import re

import jax
import numpy as np

from big_vlm import families, presets, trees
from big_vlm.checkpoints import bv, damage, hf, keras, native, npz, openpi, uris
from big_vlm.checkpoints.checkpoint import shapes
from big_vlm.families import paligemma
from big_vlm.families.siglip import naflex
from big_vlm.formats import config_json, param_map
from big_vlm.formats.lazy_array import LazyArray
from big_vlm.formats.parts import split_part
from pp.foreign import reading

# The first that can read a folder does: LeRobot's, too, has a config.json and safetensors.
FORMATS = {"native": native, "openpi": openpi, "hf": hf, "keras": keras, "npz": npz}
NEW_ROWS_STD = 0.02  # of added vocabulary rows
# That a part may have or not.
HEADS = ("img/MAPHead_0/", "img/cls", "img/pre_logits/", "img/head/", "txt/head/")


def open_source(path):
  """The Checkpoint of a local file or folder, in whichever format it is; reading absurd values of
  one without checksums prints a warning.

  Raises FileNotFoundError if there is nothing, ValueError if it is of no known format.
  """
  file = pathlib.Path(split_part(path)[0])
  if not file.exists():
    raise FileNotFoundError(f"There is no file or folder {file}.")
  for module in (*FORMATS.values(), bv):
    if module.can_read(path):
      with reading(path):
        opened = module.open_source(path)
        config_json.check_sizes(dataclasses.asdict(opened.config), path)
        # The others have checksums.
        return opened if module in (native, npz) else damage.watched(opened)
  inside = sorted(p.name for p in file.iterdir())[:8] if file.is_dir() else [file.suffix]
  raise ValueError(
      f"{path} is not a checkpoint that can be read: a big_vision .npz or .bv, a folder of Hugging "
      "Face (config.json, *.safetensors) or KerasHub (config.json, *.h5), a step of openpi "
      "(params/), or a work folder of trainers.train (model.json, checkpoints/). Found: "
      f"{', '.join(inside) or 'nothing'}.")


def fit(source, config, dont_load=()):
  """source.leaves as the model of `config` takes them: {name: LazyArray}; but for those whose names
  a regex of dont_load matches.

  Raises ValueError for what does not fit, and FileNotFoundError for a training that has not saved
  yet.
  """
  if not source.leaves:
    raise FileNotFoundError(f"{source.path} holds no finished checkpoint yet.")
  wanted = _without(dont_load, shapes(config))
  leaves = _adapted(_without(dont_load, source.leaves), wanted, source.config)
  _check(leaves, wanted, source, config)
  return leaves


def _without(patterns, leaves):
  """Of {name: leaf} those of which no regex matches all of the name."""
  return {n: x for n, x in leaves.items() if not any(re.fullmatch(p, n) for p in patterns)}


def _adapted(leaves, wanted, config):
  leaves = dict(leaves)
  for name, shape in wanted.items():
    leaf = leaves.get(name)
    if leaf is None or leaf.shape == shape:
      continue
    if name == "img/pos_embedding" and leaf.shape[2] == shape[2]:
      leaves[name] = _resampled(leaf, shape, _naflex if config.img.naflex else _zoom)
    elif name == "llm/embedder/input_embedding" and leaf.shape[0] < shape[0]:
      leaves[name] = _extended(leaf, shape)
  return leaves


def _check(leaves, wanted, source, config):
  is_, asked = presets.describe(source.config), presets.describe(config)
  where = str(source.path)
  if is_ != asked:
    where += f" (this is {is_}; you asked for {asked})"
  param_map.compare(leaves, wanted, where)


def _resampled(leaf, shape, resize):
  """Position table [1, old**2, D] for another grid; resize([old**2, D], new) -> [new**2, D]."""
  def read(index=()):
    table = np.asarray(leaf.read(()), np.float32)[0]
    return np.asarray(resize(table, math.isqrt(shape[1]))).reshape(shape)[tuple(index)]
  return LazyArray(shape, np.dtype(np.float32), read)


def _zoom(table, new):
  """Linear, grid ends aligned, as big_vision."""
  old = math.isqrt(len(table))
  from scipy import ndimage  # here: slow to import
  return ndimage.zoom(table.reshape(old, old, -1), (new / old, new / old, 1), order=1)


def _naflex(table, new):
  """As a NaFlex tower resizes it for square images: their features stay what they were."""
  return naflex.positions(jax.numpy.asarray(table), jax.numpy.array([[new, new]]), new * new)


def _extended(leaf, shape):
  """Embedding table with rows added: the same ones for the same sizes."""
  def read(index=()):
    table = leaf.read(())
    rng = np.random.default_rng(len(table))
    new = rng.normal(0, NEW_ROWS_STD, (shape[0] - len(table), shape[1])).astype(table.dtype)
    return np.concatenate([table, new])[tuple(index)]
  return LazyArray(shape, leaf.dtype, read)


def dtype_of(name, dtype):
  """The dtype in which a parameter is kept for a compute dtype."""
  return np.dtype(np.float32) if families.stays_float32(name) else jax.numpy.dtype(dtype)


def params(leaves, shardings, dtype="float32"):
  """The parameter tree of {name: LazyArray}, read straight to its shards.

  shardings: tree of jax shardings with the leaves' names. Parts of weight wrappers keep the dtype
  in which they are stored. Host memory peaks at a leaf's shard.
  """
  where = dict(zip(trees.names(shardings), jax.tree.leaves(shardings)))
  # The largest first: a leaf is in memory up to three times while it is placed.
  order = sorted(where, key=lambda name: -leaves[name].nbytes)
  kept = lambda name: leaves[name].dtype if families.param(name)[2] else dtype_of(name, dtype)
  placed = {name: _place(leaves[name], where[name], kept(name)) for name in order}
  return trees.map_with_names(lambda name, _: placed[name], shardings)


def _place(leaf, sharding, dtype):
  # np.array copies: JAX may otherwise keep the mapped file itself as its buffer.
  return jax.block_until_ready(jax.make_array_from_callback(
      leaf.shape, sharding, lambda index: np.array(leaf.read(index), dtype)))


def alone(source, part):
  """The Checkpoint of the part "img", "txt" or "llm" of another; a PaliGemma's tower comes without
  the projector. Raises ValueError where it has no such part."""
  found = getattr(source.config, part)
  if not found:
    raise _no_part(source, part)
  leaves = {n: x for n, x in source.leaves.items() if n.startswith(part + "/")}
  if part == "img" and source.config.llm:
    found = dataclasses.replace(found, out_width=None)
    leaves = {n: x for n, x in leaves.items() if not n.startswith("img/head/")}
  return dataclasses.replace(
      source, config=paligemma.PaliGemmaConfig(**{"img": None, "llm": None, part: found}),
      leaves=leaves, tokenizer=None if part == "img" else source.tokenizer, stored=None,
      text_len=None if part == "img" else source.text_len)


def _no_part(source, part):
  return ValueError(f"{source.path} has no {part!r} part; it is "
                    f"{presets.describe(source.config)}.")


def parts(sources, config, dont_load=()):
  """{name: LazyArray} for a model from {"img": Checkpoint, "txt": Checkpoint, "llm": Checkpoint}.

  Of each the named part is taken. What none has, such as the projector img/head of a new PaliGemma
  or the pooling head of a SigLIP from a PaliGemma's tower, is left out and is randomly initialized.
  A pooling head or a projector that the model lacks is dropped. Raises ValueError for a class token
  that it lacks: the patches attend to that.
  """
  wanted, found = _without(dont_load, shapes(config)), {}
  for tower, source in sources.items():
    mine = {n: x for n, x in source.leaves.items() if n.startswith(tower + "/")}
    if not mine:
      raise _no_part(source, tower)
    mine = _without(dont_load, mine)
    if (token := f"{tower}/cls") in mine and token not in wanted:
      raise ValueError(f"{source.path} has a class token, {token}, to which its patches attend, "
                       "and the model has none: give it one by model.img.pool='tok', or do without "
                       f"by init.dont_load=({token!r},).")
    mine = {n: x for n, x in mine.items() if not n.startswith(HEADS) or n in wanted}
    heads = tuple(head for head in HEADS if not any(n.startswith(head) for n in mine))
    need = {n: s for n, s in wanted.items()
            if n.startswith(tower + "/") and not n.startswith(heads)}
    mine = _adapted(mine, need, source.config)
    _check(mine, need, source, config)
    found |= mine
  return found


def start_from(init, params, config):
  """params with what the sources of {"model": ..., "img": ..., "txt": ..., "llm": ...} hold, each
  what big_vlm.from_preset takes or empty; "model" excludes the others. Dtypes and shardings stay.
  init may have "dont_load", regexes of whole names that stay as they are; ValueError for what is no
  regex, and for one that matches none.
  """
  init = dict(init)
  dont_load = init.pop("dont_load", ())
  dont_load = (dont_load,) if isinstance(dont_load, str) else dont_load
  for pattern in dont_load:
    try:
      re.compile(pattern)
    except (re.error, TypeError) as e:
      raise ValueError(f"init.dont_load has {pattern!r}, which is no regex: {e}.") from e
  named = {part: source for part, source in init.items() if source}
  if "model" in named and len(named) > 1:
    raise ValueError(f"init names both a whole model ({named['model']}) and "
                     f"{set(named) - {'model'}}; give either.")
  sources = {part: open_source(uris.fetch(presets.uri(s))) for part, s in named.items()}
  if not sources and dont_load:
    raise ValueError(f"init.dont_load={dont_load!r} leaves out parameters of a checkpoint, and "
                     "init names none: give init.model, or leave dont_load out.")
  if not sources:
    return params
  names = {*shapes(config), *(name for source in sources.values() for name in source.leaves)}
  if idle := [p for p in dont_load if not any(re.fullmatch(p, name) for name in names)]:
    raise ValueError(f"init.dont_load: {idle[0]!r} matches no parameter. Names look like "
                     f"{', '.join(sorted(names)[:3])}; the regex must match all of the name.")
  leaves = (fit(sources["model"], config, dont_load) if "model" in sources else
            parts(sources, config, dont_load))
  for part, source in sources.items():
    print(f"init: {part} from {source.path} ({presets.describe(source.config)})")
  print(f"init: {len(leaves)} parameters loaded, {len(trees.names(params)) - len(leaves)} fresh")
  return trees.map_with_names(
      lambda name, x: _place(leaves[name], x.sharding, x.dtype) if name in leaves else x, params)
