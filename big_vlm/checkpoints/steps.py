"""The steps of a work folder: saved in the background, kept by a rule, checked before being read.

    W/checkpoints/1200/...                       a whole step; manifest.json says what is in it
    W/checkpoints/1200.orbax-checkpoint-tmp/...  one that is being written, or was when killed

A save goes to a temporary folder, gets its manifest, and is renamed when whole. A step whose files
are not as the manifest says is skipped with a line, and the next older one is read.
"""
import concurrent.futures

import jax
from etils import epath, epy

from big_vlm import distributed, trees
from big_vlm.checkpoints import manifest

with epy.lazy_imports():  # slow to import
  import orbax.checkpoint as ocp


class Checkpoints:
  """Saves and restores the train state of one work folder.

  keep: so many newest steps stay, and every step that `keep_every` divides. With 2 or more there
  is an older one to go back to when the newest is damaged.
  """

  def __init__(self, workdir, keep=2, keep_every=0):
    if keep < 1:
      raise ValueError(f"keep_checkpoints is {keep}; at least the newest one has to stay.")
    self._folder = (epath.Path(workdir) / "checkpoints").absolute()
    self._keep, self._keep_every = keep, keep_every
    self._saving = None  # (step, future of its end)
    self._thread = concurrent.futures.ThreadPoolExecutor(1)
    # The callback comes on process 0 when all is written, before the folder gets its name.
    self._orbax = ocp.AsyncCheckpointer(
        ocp.CompositeCheckpointHandler(),
        async_options=ocp.options.AsyncOptions(post_finalization_callback=self._seal))

  def steps(self):
    """The steps that are there, ascending."""
    return steps(self._folder)

  def latest(self):
    """The newest step, or None."""
    return max(self.steps(), default=None)

  def folder(self, step):
    return self._folder / str(step)

  def save(self, step, state):
    """Starts to write {item: tree}; a step that is there already is left as it is.

    Raises OSError, here or in check(), the next save() or at the end, if a save fails.
    """
    self._wait()
    if step in distributed.broadcast_from_primary(self.steps):
      return
    try:
      if distributed.is_primary_process():
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished()
      items = {k: ocp.args.StandardSave(v) for k, v in state.items()}
      self._saving = step, None
      self._orbax.save(self.folder(step), args=ocp.args.Composite(**items))
    except Exception as e:  # Orbax's and tensorstore's own kinds among them
      self._saving = None
      raise self._failed(step, e) from e
    self._saving = step, self._thread.submit(self._finish)

  def check(self):
    """Raises the error of a save in the background that has failed."""
    if self._saving and self._saving[1].done():
      self._wait()

  def newest(self, aside=True):
    """The newest step whose files are whole, or None; see newest().

    aside: rename newer ones to STEP.damaged, so that the run may save these steps again.
    """
    self._wait()
    return distributed.broadcast_from_primary(self._newest if aside else lambda: newest(self._folder))

  def restore(self, step, like):
    """The items of `like` (trees of shapes with shardings) as saved at step.

    Raises one ValueError that lists what does not fit.
    """
    self._wait()
    distributed.broadcast_from_primary(lambda: self._check_fits(step, like))
    items = {k: ocp.args.StandardRestore(v) for k, v in like.items()}
    try:
      return dict(self._orbax.restore(self.folder(step), args=ocp.args.Composite(**items)))
    except Exception as e:
      raise ValueError(f"{self.folder(step)} cannot be read: {_said(e)}. Remove the folder, and "
                       "the run goes on from the step before it.") from e

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
      self._thread.shutdown()
      self._orbax.close()

  def _newest(self):
    found = newest(self._folder)
    for step in self.steps():
      if found is not None and step > found:
        aside = self._folder / f"{step}.damaged"
        if aside.exists():
          aside.rmtree()
        self.folder(step).rename(aside)
    return found

  def _seal(self):
    step = str(self._saving[0])
    written, = (p for p in self._folder.iterdir() if p.name.partition(".")[0] == step
                and not p.name.endswith(".damaged"))
    manifest.write(written)

  def _finish(self):
    self._orbax.wait_until_finished()
    if distributed.is_primary_process():
      there = self.steps()
      for step in there[:-self._keep]:
        if not self._keep_every or step % self._keep_every:
          self.folder(step).rmtree()

  def _wait(self):
    if self._saving:
      step, end = self._saving
      e = end.exception()  # waits
      self._saving = None
      if e:
        raise self._failed(step, e) from e

  def _failed(self, step, error):
    last = self.latest()
    if distributed.is_primary_process():
      self._remove_unfinished()
    return OSError(
        f"Step {step} could not be saved in {self._folder}: {_said(error)}. "
        + (f"Step {last} there is whole; with room to write, the same command goes on from it."
           if last is not None else "There is no earlier step."))

  def _remove_unfinished(self):
    for path in self._folder.iterdir() if self._folder.is_dir() else ():
      if path.is_dir() and ocp.utils.is_tmp_checkpoint(path):
        path.rmtree(missing_ok=True)

  def _check_fits(self, step, like):
    found = []
    for item, tree in like.items():
      there = metadata(self.folder(step) / item)
      wanted = {name: tuple(x.shape) for name, x in zip(trees.names(tree), jax.tree.leaves(tree))}
      found += [f"{item}/{name} {list(there[name])} is not in this config's"
                for name in sorted(set(there) - set(wanted))]
      found += [f"{item}/{name} {list(wanted[name])} is missing"
                for name in sorted(set(wanted) - set(there))]
      found += [f"{item}/{name} is {list(there[name])}, not {list(shape)}"
                for name, shape in sorted(wanted.items())
                if name in there and there[name] != shape]
    if found:
      rest = f"\n  ... and {len(found) - 12} more" if len(found) > 12 else ""
      raise ValueError(
          f"{self.folder(step)} is of a run with another model or optimizer:\n  "
          + "\n  ".join(found[:12]) + rest + "\nGive that run's config, or a new --workdir; "
          "--config.init.model=W starts a new run from the parameters alone.")


def steps(folder):
  """The whole steps in a folder of them, ascending."""
  folder = epath.Path(folder)
  return sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []


def newest(folder, only="", note=print):
  """The newest step of the folder that is as its manifest says, or None where there is no step.

  Each damaged one that is newer gets a line. Raises ValueError if all are damaged: to begin anew
  is for the user to decide.
  """
  faults = {}
  for step in reversed(steps(folder)):
    faults[step] = fault(epath.Path(folder) / str(step), only)
    if faults[step] is None:
      return step
    note(f"skipping checkpoint {step}: {faults[step]}")
  if faults:
    raise ValueError(
        f"All checkpoints in {folder} are damaged: "
        + "; ".join(f"step {step}: {words}" for step, words in faults.items())
        + ". Restore one from a backup, or remove the folder to start from the beginning.")
  return None


def fault(folder, only=""):
  """What is wrong with the folder of a step, in a few words, or None."""
  try:
    if words := manifest.fault(folder, only):
      return words
    if not manifest.exists(folder):  # of an earlier version, or with its manifest lost
      for item in epath.Path(folder).iterdir():
        if item.is_dir():
          metadata(item)
  except OSError as e:
    return f"cannot be read: {_said(e)}"
  except ValueError as e:
    return _said(e)
  return None


def metadata(item):
  """{leaf's name: shape} of one item of a step, such as W/checkpoints/1200/params."""
  try:
    tree = ocp.PyTreeCheckpointHandler().metadata(epath.Path(item).absolute()).tree
  except (OSError, ValueError, KeyError, TypeError) as e:
    raise ValueError(f"{epath.Path(item).name} is no whole item of Orbax: {_said(e)}") from e
  return {name: tuple(x.shape) for name, x in zip(trees.names(tree), jax.tree.leaves(tree))}


def _said(error):
  """The first line of an error that says something, without the traces of C++ beneath it."""
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
