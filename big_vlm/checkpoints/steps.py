"""The steps of a work folder: Orbax saves and keeps them, a manifest says that they are complete.

    W/checkpoints/1200/...                       a complete step; manifest.json lists its files
    W/checkpoints/1200.orbax-checkpoint-tmp/...  one that is being written, or was when killed

Orbax writes a step in the background and renames its folder when complete; in an object store,
which has no renaming, commit_success.txt marks a complete one. Orbax has no checksums:
the manifest does. A step whose files differ from it is skipped with a line, for the next older one.
"""
import jax
from etils import epath, epy

from big_vlm import distributed, files, trees
from big_vlm.checkpoints import manifest
from big_vlm.formats.orbax_tree import first_line, metadata

with epy.lazy_imports():  # slow to import
  import orbax.checkpoint as ocp

COMMIT = "commit_success.txt"  # by Orbax, in a complete step


class Checkpoints:
  """Saves and restores the train state of one work folder.

  max_to_keep: so many newest steps stay, and every step that `keep_period` divides. With 2 or more
  there is an older one to fall back on when the newest is corrupt.
  """

  def __init__(self, workdir, max_to_keep=2, keep_period=0):
    if max_to_keep < 1:
      raise ValueError(f"max_to_keep is {max_to_keep}; at least the newest step has to stay.")
    self._folder = files.absolute(workdir) / "checkpoints"
    self._saving = None  # a step
    # The callback comes on process 0 when all is written, before the step is marked complete.
    self._manager = ocp.CheckpointManager(self._folder, options=ocp.CheckpointManagerOptions(
        max_to_keep=max_to_keep, keep_period=keep_period or None, create=False,
        lightweight_initialize=True,
        async_options=ocp.options.AsyncOptions(post_finalization_callback=self._seal)))
    # The manager would ask with the step of a save, in a thread of its own, beside the training's
    # question with the step of now (stopping.py): JAX might agree on a step that has passed.
    self._manager.reached_preemption = lambda step: False

  def latest(self):
    """The newest step, or None."""
    return max(steps(self._folder), default=None)

  def folder(self, step):
    return self._folder / str(step)

  def save(self, step, state):
    """Starts to write {item: tree}; a step that is there already is left as it is.

    Raises OSError, here or in check(), the next save() or at the end, if a save fails.
    """
    self._wait()
    if step in distributed.broadcast_from_primary(lambda: steps(self._folder)):
      return
    self._saving = step
    try:
      if distributed.is_primary_process():
        self._folder.mkdir(parents=True, exist_ok=True)  # fails at once, in Orbax after minutes
        self._remove_unfinished()
      items = {k: ocp.args.StandardSave(v) for k, v in state.items()}
      self._manager.save(step, args=ocp.args.Composite(**items), force=True)
    except Exception as e:  # Orbax's and tensorstore's own kinds among them
      raise self._failed(e) from e

  def wait(self):
    """Returns when what is being saved is complete; raises OSError if that failed."""
    self._wait()

  def delete(self, step):
    """Removes a complete step, on process 0."""
    self._wait()
    distributed.broadcast_from_primary(lambda: self._delete(step))
    self._manager.reload()

  def check(self):
    """Raises the error of a save in the background that has failed."""
    if self._saving is not None and not self._manager.is_saving_in_progress():
      self._wait()

  def newest(self, aside=True):
    """The newest complete step, or None; see newest() below.

    aside: renames newer ones to STEP.corrupt, so that the run may save these steps again.
    """
    self._wait()
    found = distributed.broadcast_from_primary(
        self._newest if aside else lambda: newest(self._folder))
    self._manager.reload()
    return found

  def restore(self, step, like):
    """The items of `like` (trees of shapes with shardings) as saved at step.

    Raises one ValueError that lists every leaf that does not fit.
    """
    self._wait()
    distributed.broadcast_from_primary(lambda: _check_fits(self.folder(step), like))
    items = {k: ocp.args.StandardRestore(v) for k, v in like.items()}
    try:
      return dict(self._manager.restore(step, args=ocp.args.Composite(**items)))
    except Exception as e:
      raise ValueError(f"{self.folder(step)} cannot be read: {first_line(e)}. Remove the folder, "
                       "and the run resumes from the step before it.") from e

  def __enter__(self):
    return self

  def __exit__(self, kind, error, trace):
    try:
      self._wait()
    except OSError as e:
      if kind is None:
        raise
      print(f"error: {e}", flush=True)  # beside the first error, which ends the run
    finally:
      self._manager.close()

  def _newest(self):
    found = newest(self._folder)
    for step in steps(self._folder):
      if found is not None and step > found:
        aside = self._folder / f"{step}.corrupt"
        if not files.is_local(aside):  # no renaming: the step counts as unfinished
          (self.folder(step) / COMMIT).unlink()
          continue
        aside.rmtree(missing_ok=True)
        self.folder(step).rename(aside)
    return found

  def _delete(self, step):
    (self.folder(step) / COMMIT).unlink(missing_ok=True)  # in an object store: it is unfinished now
    self.folder(step).rmtree(missing_ok=True)

  def _seal(self):
    written, = (p for p in self._folder.iterdir() if p.name in (
        str(self._saving), f"{self._saving}.orbax-checkpoint-tmp"))
    manifest.write(written)

  def _wait(self):
    try:
      self._manager.wait_until_finished()
    except Exception as e:
      raise self._failed(e) from e
    self._saving = None

  def _failed(self, error):
    step, self._saving, last = self._saving, None, self.latest()
    if distributed.is_primary_process():
      self._remove_unfinished()  # a disk that is full has better use for its room
    self._manager.reload()
    return OSError(
        f"Step {step} could not be saved in {self._folder}: {first_line(error)}. "
        + (f"Step {last} there is complete; with room to write, the same command resumes from it."
           if last is not None else "There is no earlier step."))

  def _remove_unfinished(self):
    for path in self._folder.iterdir() if self._folder.is_dir() else ():
      if path.is_dir() and ocp.utils.is_tmp_checkpoint(path):
        path.rmtree(missing_ok=True)


def _check_fits(folder, like):
  found = []
  for item, tree in like.items():
    there = {name: tuple(x.shape) for name, x in metadata(folder / item).items()}
    expected = {name: tuple(x.shape) for name, x in zip(trees.names(tree), jax.tree.leaves(tree))}
    found += [f"{item}/{name} {list(there[name])} is not in this config's"
              for name in sorted(set(there) - set(expected))]
    found += [f"{item}/{name} {list(expected[name])} is missing"
              for name in sorted(set(expected) - set(there))]
    found += [f"{item}/{name} is {list(there[name])}, not {list(shape)}"
              for name, shape in sorted(expected.items()) if there.get(name, shape) != shape]
  if found:
    rest = f"\n  ... and {len(found) - 12} more" if len(found) > 12 else ""
    raise ValueError(
        f"{folder} is of a run with another model or optimizer:\n  " + "\n  ".join(found[:12])
        + rest + "\nGive that run's config, or a new --workdir; --config.init.model=W starts a new "
        "run from the parameters alone.")


def steps(folder):
  """The complete steps in a folder of them, ascending."""
  folder = epath.Path(folder)
  return sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []


def newest(folder, only="", note=print):
  """The newest step of the folder that is as its manifest says, or None where there is no step.

  Each corrupt one that is newer gets a line. Raises ValueError if all are corrupt: whether to start
  again is for the user to decide.
  """
  errors = {}
  for step in reversed(steps(folder)):
    path = epath.Path(folder) / str(step)
    errors[step] = validation_error(path, only)
    if errors[step] is None:
      note_unsealed(path, note)
      return step
    note(f"skipping checkpoint {step}: {errors[step]}")
  if errors:
    raise ValueError(
        f"All checkpoints in {folder} are corrupt: "
        + "; ".join(f"step {step}: {words}" for step, words in errors.items())
        + ". Restore one from a backup, or remove the folder to start from the beginning.")
  return None


def note_unsealed(folder, note=print):
  """Says of the folder of a step that it has no manifest."""
  if not manifest.exists(folder):
    note(f"checkpoint {epath.Path(folder).name} has no {manifest.NAME}: damage in its files would "
         "go unnoticed")


def validation_error(folder, only=""):
  """What is wrong with the folder of a step, in a few words, or None."""
  try:
    if manifest.exists(folder):
      return manifest.validation_error(folder, only)
    items = [p for p in epath.Path(folder).iterdir() if p.is_dir()]  # it has no manifest
    if not items or not any(f"{p.name}/".startswith(only) for p in items):
      return f"it holds no {only.rstrip('/') or 'item'}: its copy was cut short"
    for item in items:
      metadata(item)
  except OSError as e:
    return f"cannot be read: {first_line(e)}"
  except ValueError as e:
    return first_line(e)
  return None
