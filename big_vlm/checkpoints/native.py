"""Our own checkpoints: a work folder with model.json, tokenizer.model and Orbax steps.

    W/model.json               model config and tokenizer: all that from_preset needs
    W/tokenizer.model
    W/checkpoints/1200/params  one folder a step; a step without its commit mark is not there
    W/checkpoints/1200/train   step and optimizer state, which only a resumed training reads

A save goes to a temporary folder first and is renamed when whole: killed anywhere, the newest step
is a good one. The mesh is no part of the format: any device count restores what any other saved.
"""
import json
import shutil

import jax
import orbax.checkpoint as ocp
from etils import epath

from pp import registry

FORMAT = 1


class Checkpoints:
  """Saves and restores the train state of one work folder; saves run in the background."""

  def __init__(self, workdir, keep=1):
    self._folder = epath.Path(workdir) / "checkpoints"
    self._manager = ocp.CheckpointManager(
        self._folder.absolute(),
        options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True))

  def latest(self):
    """The newest whole step, or None."""
    return self._manager.latest_step()

  def folder(self, step):
    return self._folder / str(step)

  def save(self, step, state):
    """Starts to write {item: tree}; a step that is there already is left as it is."""
    if step != self.latest():
      items = {k: ocp.args.StandardSave(v) for k, v in state.items()}
      self._manager.save(step, args=ocp.args.Composite(**items))

  def restore(self, step, like):
    """The items of `like` (trees of shapes with shardings) as saved at step."""
    items = {k: ocp.args.StandardRestore(v) for k, v in like.items()}
    return dict(self._manager.restore(step, args=ocp.args.Composite(**items)))

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self._manager.wait_until_finished()
    self._manager.close()


def with_sharding(shapes, shardings):
  """ShapeDtypeStructs that say where restore() is to put each leaf."""
  return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
                      shapes, shardings)


def write_model(workdir, model, tokenizer):
  """Writes model.json and a copy of the SentencePiece file that the tokenizer string names."""
  name, args, kw = registry.parse_call(tokenizer)
  file = kw.pop("model", None) or args[0]
  folder = epath.Path(workdir)
  shutil.copyfile(file, folder / "tokenizer.model")
  text = json.dumps({"format": FORMAT, "model": model, "tokenizer": [name, kw]}, indent=2)
  (folder / "model.json").write_text(text + "\n")


def read_model(source):
  """(model config dict, tokenizer string, step or None) of W or of W/checkpoints/STEP."""
  folder, step = epath.Path(source), None
  if folder.parent.name == "checkpoints" and folder.name.isdigit():
    folder, step = folder.parent.parent, int(folder.name)
  try:
    description = json.loads((folder / "model.json").read_text())
  except FileNotFoundError as e:
    raise FileNotFoundError(
        f"{source} is no checkpoint of big_vlm: there is no {folder / 'model.json'}. Give the "
        "--workdir of a training, or one of its checkpoints/STEP folders.") from e
  if description["format"] != FORMAT:
    raise ValueError(f"{folder / 'model.json'} has format {description['format']}; this version "
                     f"reads format {FORMAT}.")
  name, kw = description["tokenizer"]
  kw = {"model": str(folder / "tokenizer.model"), **kw}
  spec = f"{name}({', '.join(f'{k}={_literal(v)}' for k, v in kw.items())})"
  return folder, step, description["model"], spec


def _literal(value):
  return repr(tuple(value) if isinstance(value, list) else value)


def load_params(source, shapes, shardings):
  """The parameters alone, straight to their shardings: (params, step)."""
  folder, step, _, _ = read_model(source)
  with Checkpoints(folder) as checkpoints:
    step = checkpoints.latest() if step is None else step
    if step is None:
      raise FileNotFoundError(f"{folder} holds no finished checkpoint yet.")
    return checkpoints.restore(step, {"params": with_sharding(shapes, shardings)})["params"], step
