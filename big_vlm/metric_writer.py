"""metrics.jsonl and TensorBoard's event files of a training."""
import json

from etils import epath

from big_vlm import distributed, files

RENAMED = {"img_per_s": "examples_per_s"}  # in files of earlier versions
FAILURES = 5  # writes in a row after which a tracker is given up


class MetricWriter:
  """Appends rows {"step": ..., name: float} to metrics.jsonl, to TensorBoard event files and to
  what big_vlm/trackers.py starts.

  Rows after start_step, left by a run that was killed, are dropped: a resumed run leaves the same
  file as an uninterrupted one. Process 0 writes, others do nothing. A tracker that fails does not
  end the training: that is printed, and after FAILURES writes in a row that failed it gets no more.
  """

  def __init__(self, workdir, start_step, trackers=()):
    self._file, self._events = None, None
    self._trackers = dict.fromkeys(trackers, 0)  # to its failures since it took something
    self._last = set()  # names that the rows of start_step have
    if not distributed.is_primary_process():
      return
    path = epath.Path(workdir) / "metrics.jsonl"
    kept = [r for r in (read_metrics(path) if path.exists() else []) if r["step"] <= start_step]
    self._last = {name for r in kept if r["step"] == start_step for name in r}
    self._file = files.Appender(path, "".join(json.dumps(r) + "\n" for r in kept))
    import tensorboardX.record_writer  # here: slow to import
    tensorboardX.record_writer.register_writer_factory("gs", _EventFiles)
    self._events = tensorboardX.SummaryWriter(
        str(epath.Path(workdir) / "tensorboard"), purge_step=start_step + 1 if kept else None)

  def has(self, prefix):
    """Whether a row of start_step has a name that begins so; the same on all processes."""
    return distributed.broadcast_from_primary(
        lambda: any(name.startswith(prefix) for name in self._last))

  def write(self, step, metrics):
    if not self._file:
      return
    metrics = {k: float(v) for k, v in metrics.items()}
    self._file.write(json.dumps({"step": step, **metrics}) + "\n")
    for name, value in metrics.items():
      self._events.add_scalar(name, value, step)
    self._each(lambda tracker: tracker.write(step, metrics))

  def _each(self, call):
    """Calls it with each tracker."""
    for tracker, failures in list(self._trackers.items()):
      try:
        call(tracker)
        self._trackers[tracker] = 0
      except Exception as e:  # of many kinds, as the libraries have them
        self._trackers[tracker] += 1
        gone = failures + 1 == FAILURES
        print(f"The tracker {type(tracker).__name__} failed: {type(e).__name__}: {e}."
              + " It gets no more metrics of this run." * gone, flush=True)
        if gone:
          del self._trackers[tracker]

  def sync(self):
    """Stores all rows: before a checkpoint, from which a run resumes without writing them again."""
    if self._file:
      self._file.sync()

  def __enter__(self):
    return self

  def __exit__(self, *error):
    if self._file:
      self._file.close()
      self._events.close()
    self._each(lambda tracker: tracker.close(failed=error[0] is not None))


class _EventFiles:
  """How tensorboardX opens a file in an object store; its own way asks for another library."""
  open = files.Appender

  @staticmethod
  def directory_check(path):
    pass


def read_metrics(path):
  """The rows of a metrics.jsonl; a last line cut short by a kill is left out."""
  lines = epath.Path(path).read_text().split("\n")
  return [{RENAMED.get(name, name): value for name, value in json.loads(line).items()}
          for line in lines[:-1]]
