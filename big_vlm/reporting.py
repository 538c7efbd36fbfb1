"""What a person sees: the progress line, metrics.jsonl, TensorBoard, the plot."""
import contextlib
import json
import os
import pathlib
import resource
import sys
import time

import jax

from big_vlm import distributed


class MetricWriter:
  """Appends rows {"step": ..., name: float} to metrics.jsonl and to TensorBoard event files.

  Rows after start_step, left by a run that was killed, are dropped: a resumed run leaves the same
  file as an uninterrupted one. Process 0 writes, others do nothing.
  """

  def __init__(self, workdir, start_step):
    self._file = self._events = None
    self._last = set()  # names that the rows of start_step have
    if not distributed.is_primary_process():
      return
    self._path = pathlib.Path(workdir) / "metrics.jsonl"
    rows = read_metrics(self._path) if self._path.exists() else []
    kept = [r for r in rows if r["step"] <= start_step]
    self._last = {name for r in kept if r["step"] == start_step for name in r}
    temporary = self._path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(r) + "\n" for r in kept))
    os.replace(temporary, self._path)
    self._file = self._path.open("a", buffering=1)
    import tensorboardX  # here: slow to import
    self._events = tensorboardX.SummaryWriter(
        str(pathlib.Path(workdir) / "tensorboard"), purge_step=start_step + 1 if kept else None)

  def has(self, prefix):
    """Whether a row of start_step has a name that begins so; the same on all processes."""
    return distributed.broadcast_from_primary(lambda: any(name.startswith(prefix) for name in self._last))

  def write(self, step, metrics):
    if not self._file:
      return
    metrics = {k: float(v) for k, v in metrics.items()}
    self._file.write(json.dumps({"step": step, **metrics}) + "\n")
    for name, value in metrics.items():
      self._events.add_scalar(name, value, step)

  def __enter__(self):
    return self

  def __exit__(self, *error):
    if self._file:
      self._file.close()
      self._events.close()


def read_metrics(path):
  """The rows of a metrics.jsonl; a last line cut short by a kill is left out."""
  lines = pathlib.Path(path).read_text().split("\n")
  return [json.loads(line) for line in lines[:-1]]


class Progress:
  """The progress line: step, loss, examples and tokens/s, MFU, waiting for data, memory, ETA."""

  def __init__(self, start_step, total_steps, batch_size):
    self._total, self._batch_size = total_steps, batch_size
    self._tokens, self._flops, self._peak = 0, 0, None
    self._first = self._last = start_step
    self._start = self._last_time = time.perf_counter()
    self._waited = 0.0

  def work(self, tokens, flops, peak):
    """tokens and flops: of an example. peak: FLOP/s of all devices together; None: unknown."""
    self._tokens, self._flops, self._peak = tokens, flops, peak

  def wait(self, batches):
    """next(batches), timed."""
    t = time.perf_counter()
    batch = next(batches)
    self._waited += time.perf_counter() - t
    return batch

  @contextlib.contextmanager
  def paused(self):
    """Leaves the time inside out of all figures: evaluation."""
    began = time.perf_counter()
    yield
    self._last_time += time.perf_counter() - began
    self._start += time.perf_counter() - began

  def line(self, step, loss):
    """Metrics of the steps since the last call; prints them."""
    now = time.perf_counter()
    seconds = max(now - self._last_time, 1e-9)
    examples = (step - self._last) * self._batch_size / seconds
    metrics = {"img_per_s": examples, "data_wait": self._waited / seconds,
               "memory_gib": memory() / 2**30}
    if self._tokens:
      metrics["tokens_per_s"] = examples * self._tokens
    if self._peak:
      metrics["mfu"] = examples * self._flops / self._peak
    left = (now - self._start) / max(step - self._first, 1) * (self._total - step)
    print("  ".join([
        f"step {step}/{self._total} ({step / self._total:.0%})", f"loss {loss:.4f}",
        f"{examples:.{0 if examples >= 10 else 2}f} img/s",
        *([f"{metrics['tokens_per_s']:,.0f} tokens/s"] if self._tokens else []),
        *([f"MFU {metrics['mfu']:.1%}"] if self._peak else []),
        f"data wait {metrics['data_wait']:.0%}", f"{metrics['memory_gib']:.1f} GiB",
        f"ETA {clock(left)}"]), flush=True)
    if step == self._first + 1:  # the step that was compiled does not count for the ETA
      self._first, self._start = step, now
    self._last, self._last_time, self._waited = step, now, 0.0
    return metrics


class Trace:
  """A profile of some steps in WORKDIR/profile, for xprof or TensorBoard's profile page."""

  def __init__(self, workdir, start_step, steps=None):
    """steps: how many; they begin with the third, when all is compiled. None: no profile."""
    self._folder = pathlib.Path(workdir) / "profile"
    self._first = start_step + 3
    self._last = self._first + int(steps) - 1 if steps else 0

  @contextlib.contextmanager
  def step(self, step):
    """Around a step; gives a function that takes the step's results and hands them on."""
    if not self._last:
      yield lambda results: results
      return
    if step == self._first:
      jax.profiler.start_trace(str(self._folder))
    with jax.profiler.StepTraceAnnotation("train", step_num=step):
      yield jax.block_until_ready if step == self._last else lambda results: results
    if step == self._last:
      jax.profiler.stop_trace()
      print(f"profile of steps {self._first} to {step}: xprof --logdir {self._folder}")


def columns(lines, left=(0,)):
  """Rows of strings as a table; the columns `left` are flush left, the others right."""
  widths = [max(map(len, column)) for column in zip(*lines)]
  return "\n".join("  ".join(
      cell.ljust(w) if i in left else cell.rjust(w)
      for i, (cell, w) in enumerate(zip(line, widths))).rstrip() for line in lines)


def counter(name):
  """A note(done, total) for work in parts: a line that counts up on a terminal, else the end."""
  began = time.perf_counter()

  def note(done, total):
    seconds = time.perf_counter() - began
    if done == total:
      print("\r" * sys.stdout.isatty() + f"{name}: {total} batches in {seconds:.0f} s", flush=True)
    elif sys.stdout.isatty():
      left = clock(seconds / done * (total - done))
      print(f"\r{name}: batch {done}/{total}  ETA {left}", end="", flush=True)
  return note


def byte_counter(name):
  """A note(done, total) in bytes, at most twice a second on a terminal, else at the end."""
  began = shown = time.perf_counter()

  def note(done, total):
    nonlocal shown
    now = time.perf_counter()
    rate = done / max(now - began, 1e-3)
    if done == total:
      print("\r" * sys.stdout.isatty() + f"{name}: {total / 2**30:.2f} GiB in {now - began:.0f} s, "
            f"{rate / 2**20:.0f} MiB/s", flush=True)
    elif sys.stdout.isatty() and now - shown > 0.5:
      shown = now
      print(f"\r{name}: {done / 2**30:.2f} of {total / 2**30:.2f} GiB, {rate / 2**20:.0f} MiB/s  "
            f"ETA {clock((total - done) / rate)}", end="", flush=True)
  return note


def memory():
  """Peak bytes in use on the first device, or of this process where the device does not say."""
  stats = jax.local_devices()[0].memory_stats() or {}
  return stats.get("peak_bytes_in_use",
                   resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def clock(seconds):
  """Seconds as h:mm:ss or m:ss."""
  m, s = divmod(int(seconds), 60)
  return f"{m // 60}:{m % 60:02}:{s:02}" if m >= 60 else f"{m}:{s:02}"


def plot(workdir):
  """Draws metrics.jsonl as training.png (loss, learning rate, evaluations); returns its path."""
  rows = read_metrics(pathlib.Path(workdir) / "metrics.jsonl")
  series = {}
  for row in rows:
    for name, value in row.items():
      series.setdefault(name, []).append((row["step"], value))
  panels = {"loss": ["loss"], "learning rate": ["lr"], "evaluation, 0 to 1": [],
            "evaluation, other scales": []}
  for name in sorted(n for n in series if "/" in n and not n.startswith("examples/")):
    fraction = max(value for _, value in series[name]) <= 1
    panels["evaluation, 0 to 1" if fraction else "evaluation, other scales"].append(name)
  panels = {title: names for title, names in panels.items() if names and names[0] in series}
  from matplotlib.figure import Figure  # here: slow to import
  figure = Figure(figsize=(4.5 * len(panels), 3.4), layout="constrained")
  for axes, (title, names) in zip(figure.subplots(1, len(panels), squeeze=False)[0],
                                  panels.items()):
    for name in names:
      axes.plot(*zip(*series[name]), label=name, marker="o" if len(series[name]) < 30 else None,
                markersize=3, linewidth=1.4)
    axes.set(title=title, xlabel="step")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if title == "loss":
      axes.set_yscale("log")
    elif title == "evaluation, 0 to 1":
      axes.set_ylim(0, 1)
    if "/" in names[0]:
      axes.legend(fontsize=7)
  path = pathlib.Path(workdir) / "training.png"
  figure.savefig(path, dpi=130)
  return path
