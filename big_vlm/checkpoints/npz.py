"""big_vision's .npz files: one array per leaf, key = its path in the parameter tree.

Keys start with "params/", "opt/target/" or nothing; FILE.npz:sub/tree takes a part. The file says
nothing of the model: families/*/npz.py tell it from shapes, unless there is the folder FILE.model
beside it, in which write() leaves model.json and the tokenizer.
"""
import pathlib

from big_vlm.checkpoints import native
from big_vlm.checkpoints.checkpoint import Checkpoint
from big_vlm.families import exchange, paligemma
from big_vlm.formats import npz
from pp import tokenizer_files

# Of files that hold one tower without its name.
ROOTS = {"embedder": "llm/", "embedding": "img/", "Embed_0": "txt/"}


def can_read(path):
  return npz.split_part(path)[0].endswith(".npz")


def open_source(path):
  """Raises ValueError for a corrupt file, naming it and the leaf, and FileNotFoundError."""
  file, part = npz.split_part(path)
  return described(npz.read_file(file), part, path, pathlib.Path(file))


def described(leaves, part, path, file):
  """The Checkpoint of {key: LazyArray} with big_vision's keys, of which `part` is meant, or all.

  file: that they are from, next to which FILE.model or a tokenizer may be.
  """
  leaves = _parameters(leaves, part, path)
  beside = file.with_suffix(".model")
  if beside.exists():
    told = native.read_model(beside)
    config, tokenizer, text_len = paligemma.config(**told.model), told.tokenizer, told.text_len
  else:
    config = config_from_shapes({name: leaf.shape for name, leaf in leaves.items()}, path)
    tokenizer = tokenizer_files.find(file.parent, multimodal=bool(config.img and not config.txt))
    text_len = config.txt.length if config.txt else None
  for family in _families_with("import_leaves"):
    leaves = family.import_leaves(leaves, config)
  return Checkpoint(str(path), config, leaves, tokenizer, text_len)


def _families_with(function):
  return [family for family in exchange.modules("npz") if hasattr(family, function)]


def _parameters(leaves, part, path):
  """Leaves under the names of our tree, of those keys that are parameters."""
  for root in ("opt/target/", "params/"):
    if any(name.startswith(root) for name in leaves):
      leaves = {n.removeprefix(root): x for n, x in leaves.items() if n.startswith(root)}
  if part:
    leaves = {n.removeprefix(part + "/"): x for n, x in leaves.items() if n.startswith(part + "/")}
    if not leaves:
      raise ValueError(f"{path}: there is nothing under {part!r} in the file.")
  for first, root in ROOTS.items():
    if any(name.startswith(first + "/") for name in leaves):
      leaves = {root + n: x for n, x in leaves.items()}
  for family in _families_with("import_names"):
    leaves = family.import_names(leaves, path)
  return leaves


def config_from_shapes(shapes, path):
  """PaliGemmaConfig of {leaf name: shape}; path: for the message of the ValueError."""
  found = {}
  families = exchange.modules("npz")
  for family in sorted(families, key=lambda family: len(family.MARKS)):  # the most marks win
    if set(family.MARKS) <= set(shapes):
      found[families[family]] = family
  some = ", ".join(sorted(shapes)[:6]) + (", ..." if len(shapes) > 6 else "")
  if not found:
    raise ValueError(f"{path} holds neither a vision tower (img/embedding/kernel) nor a text tower "
                     "(txt/Embed_0/embedding) nor a decoder (llm/embedder/input_embedding). Found: "
                     f"{some}.")
  try:
    return paligemma.PaliGemmaConfig(**{"img": None, "llm": None} | {
        part: family.config_from_shapes(shapes, "img" in found) for part, family in found.items()})
  except KeyError as e:
    raise ValueError(f"{path}: the parameter {e} is missing, without which the model cannot be "
                     f"told. Found: {some}.") from e


def write(path, source, note):
  """Writes path (.npz), streaming, and the folder .model beside it."""
  beside = pathlib.Path(path).with_suffix(".model")
  beside.mkdir()
  native.write_model(beside, paligemma.to_dict(source.config), source.tokenizer,
                     text_len=source.text_len)
  leaves = source.leaves
  for family in _families_with("export_leaves"):
    leaves = family.export_leaves(leaves, source.config)
  npz.write_file(path, {f"params/{name}": x for name, x in leaves.items()}, note)
