"""Experiment trackers that get the metrics of a training too, through their own libraries.

  config.trackers = ("wandb", "mlflow")

Where they write is said as these libraries say it, by environment variables: WANDB_PROJECT,
WANDB_MODE=offline; MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME. WORKDIR/trackers.json has the ids
of the runs there, which a training that resumes continues.
"""
import importlib.util
import json
import re

from etils import epath

from big_vlm import distributed, files
from pp.names import pick

FILE = "trackers.json"
PARAMS = 100  # that MLflow's servers take at once


class WandB:
  """Weights & Biases. Rows before the last that it has are not sent again: those of a resumed run
  are the same. "step" is a metric of its own, since rows of one step come one after another, and
  wandb's count of rows refuses what is of a row that was sent."""
  install = "wandb"

  def __init__(self, workdir, run_id):
    import wandb
    local = "://" not in str(workdir)
    self._run = wandb.init(id=run_id, resume="allow", name=epath.Path(workdir).name,
                           dir=str(workdir) if local else None)
    self.id, self._last = self._run.id, self._run.summary.get("step", -1)
    self._run.define_metric("*", step_metric="step")

  def describe(self, config):
    self._run.config.update(config, allow_val_change=True)

  def write(self, step, metrics):
    if step >= self._last:
      self._run.log({"step": step, **metrics})

  def close(self, failed):
    self._run.finish(exit_code=int(failed))


class MLflow:
  """MLflow. It keeps all that it gets, so a step that it has is not sent again."""
  install = "mlflow-skinny"

  def __init__(self, workdir, run_id):
    import mlflow
    self._client = mlflow.MlflowClient()
    self.id = mlflow.start_run(run_id, run_name=epath.Path(workdir).name).info.run_id
    self._mlflow, self._last = mlflow, {}

  def describe(self, config):
    had = self._client.get_run(self.id).data.params  # which cannot be changed
    params = [(name, str(value)[:500]) for key, value in _flat(config)
              if (name := self._name(key)) not in had]
    for first in range(0, len(params), PARAMS):
      self._mlflow.log_params(dict(params[first:first + PARAMS]))

  @staticmethod
  def _name(text):
    return re.sub(r"[^\w.\-/ ]", "_", text)

  def write(self, step, metrics):
    named = {self._name(name): value for name, value in metrics.items()}
    self._mlflow.log_metrics({n: x for n, x in named.items() if step > self._newest(n)}, step=step)

  def _newest(self, name):
    """The last step of a metric that was there when this process began; -1: none."""
    if name not in self._last:
      had = self._client.get_metric_history(self.id, name)
      self._last[name] = max((row.step for row in had), default=-1)
    return self._last[name]

  def close(self, failed):
    self._mlflow.end_run("FAILED" if failed else "FINISHED")


TRACKERS = {"wandb": WandB, "mlflow": MLflow}


def check(names):
  """Raises ValueError for names that are not a tuple of TRACKERS, or whose library is missing."""
  if not isinstance(names, (tuple, list)):
    raise ValueError(f"config.trackers is a tuple of names, such as ('wandb',), not {names!r}.")
  for name in names:
    tracker = pick(TRACKERS, name, "tracker")
    if not importlib.util.find_spec(name):
      raise ValueError(f"config.trackers has {name!r}, and its library is not installed: "
                       f"pip install {tracker.install}")


def start(names, workdir, config):
  """[tracker] of a run, begun or continued, on the primary process; [] on others. config: a dict.

  Raises ValueError, on all processes, where a tracker does not start.
  """
  path, found = epath.Path(workdir) / FILE, []

  def begin():
    ids = json.loads(path.read_text()) if path.exists() else {}
    for name in names:
      try:
        found.append(TRACKERS[name](workdir, ids.get(name)))
        ids[name] = found[-1].id
        files.write_atomic(path, json.dumps(ids) + "\n")  # first: the run there is begun
        found[-1].describe(config)
      except Exception as e:  # of many kinds, as the libraries have them
        raise ValueError(f"The tracker {name!r} does not start: {type(e).__name__}: {e}. Mend that,"
                         " or leave it out of config.trackers.") from e
  distributed.broadcast_from_primary(begin)
  return found


def _flat(value, name=""):
  """(name of a field, value) of nested dicts."""
  if not isinstance(value, dict):
    return [(name, value)]
  return [item for key, part in value.items() for item in _flat(part, f"{name}.{key}".lstrip("."))]
