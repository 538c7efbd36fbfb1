"""The best checkpoint of a training, by one metric of its evaluations, and when to stop early.

    W/best/checkpoints/1200/params   parameters alone; the newest step here is the best one so far

W/best has a model.json and a tokenizer too: it opens as W does, and "W@best" is another name of it.

Which step is best, and how many evaluations have passed since, follows from the rows of
metrics.jsonl up to the step from which a run resumes. A killed run thus keeps the step, and stops
at the step, of an undisturbed one: it forgets what it had kept beyond the step from which it
resumes, and a step that was the best one goes only when no checkpoint to resume from needs it.
"""
import math
from typing import NamedTuple

from etils import epath

from big_vlm import distributed, metric_writer
from big_vlm.checkpoints.steps import Checkpoints, steps
from pp.names import check_names, pick

MODES = {"max": 1, "min": -1}
NAME = "best"
ALL = 2**31  # Checkpoints that are kept until forget() says otherwise


class Settings(NamedTuple):
  """config.best. metric: "eval/metric", "": nothing is kept. mode: "max" or "min". patience: stop
  after so many evaluations that were no better than the best one; 0: never."""
  metric: str = ""
  mode: str = "max"
  patience: int = 0

  @classmethod
  def of(cls, config):
    """Raises ValueError for a field or value that makes no sense."""
    given = dict(config.get("best") or {})
    check_names(given, cls._fields, "config.best")
    found = cls(**given)
    pick(MODES, found.mode, "config.best.mode")
    if not isinstance(found.patience, int) or found.patience < 0:
      raise ValueError(f"config.best.patience is {found.patience!r}, not a whole number of "
                       "evaluations, 0 or more.")
    if found.patience and not found.metric:
      raise ValueError(f"config.best.patience={found.patience} waits for a better metric, and "
                       "config.best.metric does not say which.")
    return found


class Best:
  """Keeps the best checkpoint of the work folder of a training, and knows when to stop.

  checkpoints: its Checkpoints. first: the step from which the run begins or resumes.
  """

  def __init__(self, workdir, settings, checkpoints, first=0):
    self._settings, self._workdir = settings, epath.Path(workdir)
    self._checkpoints = checkpoints
    self.step = self.value = self._kept = None
    self._since = 0  # evaluations since the best one
    if not settings.metric:
      return
    for step, value in distributed.broadcast_from_primary(lambda: self._rows(first)):
      self._note(step, value)
    self._kept = Checkpoints(self._workdir / NAME, max_to_keep=ALL)
    self._forget([step for step in self._there() if step > first])
    there = self._there()
    if self.step is not None and self.step not in (*there, first):
      print(f"step {self.step} has the best {settings.metric} so far, {self.value:.4f}, and was "
            "not kept: the next one that is better will be")

  @property
  def exhausted(self):
    """Whether the training is to stop: no better value came for `patience` evaluations."""
    return bool(self._settings.patience) and self._since >= self._settings.patience

  def saw(self, step, row, params):
    """Takes the metrics of an evaluation, {} but on process 0, with the parameters that were
    evaluated: keeps them if they are the best so far."""
    if not self._kept:
      return
    value = distributed.broadcast_from_primary(lambda: row.get(self._settings.metric))
    if value is not None and self._note(step, value):
      self._save(params)

  def resume(self, step, params):
    """Keeps the parameters of the step from which a run resumes where they are the best, and a kill
    came between their evaluation and the end of their save."""
    if self._kept and self.step == step and step not in self._there():
      self._save(params)

  def settle(self):
    """Waits for what is being kept: before a checkpoint of the same or a later step is saved."""
    if self._kept:
      self._kept.wait()

  def finish(self, early=False):
    """Drops all but the best, when no earlier checkpoint is needed any more. Returns [line]: why
    the training stops, if it is early, and where the best checkpoint is."""
    if not self._kept:
      return []
    self._checkpoints.wait()
    self.settle()
    self._forget(self._there()[:-1])
    metric = self._settings.metric
    if self.value is None:
      return [f"no evaluation gave {metric}: no checkpoint is kept as the best"]
    why = [f"stopped early: {metric} was not better than {self.value:.4f}, of step {self.step}, in "
           f"{self._since} evaluations"] * early
    return why + [f"best {metric} {self.value:.4f} at step {self.step}: "
                  f"{self._workdir}@{NAME}"] * bool(self._there())

  def __enter__(self):
    if self._kept:
      self._kept.__enter__()
    return self

  def __exit__(self, *error):
    if self._kept:
      self._kept.__exit__(*error)

  def _rows(self, first):
    """[[step, value]] of the evaluations up to a step, but for that of the start."""
    path = self._workdir / "metrics.jsonl"
    return [[row["step"], row[self._settings.metric]]
            for row in (metric_writer.read_metrics(path) if path.exists() else ())
            if 0 < row["step"] <= first and self._settings.metric in row]

  def _note(self, step, value):
    """Whether a value is the best so far. Of equal ones the first is."""
    better = math.isfinite(value) and (
        self.value is None or MODES[self._settings.mode] * (value - self.value) > 0)
    self._since = 0 if better else self._since + 1
    if better:
      self.step, self.value = step, value
    return better

  def _save(self, params):
    self._checkpoints.wait()  # processes cannot agree on two saves at once
    self.settle()
    # Of each checkpoint from which a run may resume, the best one up to it is needed.
    resumable, there = self._resumable(), self._there()
    needed = {max((s for s in there if s <= step), default=None) for step in resumable}
    self._forget([s for s in there if s not in needed and s < max(resumable, default=0)])
    self._kept.save(self.step, {"params": params})

  def _resumable(self):
    return distributed.broadcast_from_primary(lambda: steps(self._workdir / "checkpoints"))

  def _there(self):
    return distributed.broadcast_from_primary(lambda: steps(self._workdir / NAME / "checkpoints"))

  def _forget(self, gone):
    for step in gone:
      self._kept.delete(step)
