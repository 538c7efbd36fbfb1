"""What a person sees of work under way: the progress line of a training, counters, tables."""
import contextlib
import resource
import sys
import time

import jax

from pp.printable import printable, raw

LINE_SECONDS = 30  # between two lines of a counter where there is no terminal
# A loss that stays above this part of the first one for this part of a run is said to stand still.
STILL, SO_LONG = 0.98, 0.05


class Progress:
  """The progress line: step, loss, examples and tokens/s, MFU, waiting for data, memory, ETA."""

  def __init__(self, start_step, total_steps, batch_size, shows="loss"):
    """shows: the metric of the line; only of a loss it is said that it does not fall."""
    self.shows = shows
    self._total, self._batch_size = total_steps, batch_size
    self._tokens = self._real = self._flops = 0  # since the last line
    self._peak = None
    self._begin = self._first = self._last = start_step
    self._start = self._last_time = time.perf_counter()
    self._waited = 0.0
    self._losses = [] if shows == "loss" else None  # printed, until it is known if they move

  def work(self, tokens, real, flops, peak):
    """To be called for each step. tokens: that this process's part of a batch has, real: of them no
    padding. flops: of the whole. peak: FLOP/s of all devices together; None: unknown."""
    self._tokens, self._real, self._flops = (
        self._tokens + tokens, self._real + real, self._flops + flops)
    self._peak = peak

  def wait(self, batches):
    """next(batches), timed."""
    t = time.perf_counter()
    batch = next(batches)
    self._waited += time.perf_counter() - t
    return batch

  @contextlib.contextmanager
  def paused(self):
    """Leaves the time inside out of all figures: evaluation, compilation."""
    began = time.perf_counter()
    yield
    self._last_time += time.perf_counter() - began
    self._start += time.perf_counter() - began

  def line(self, step, value):
    """Metrics of the steps since the last call; prints them."""
    now = time.perf_counter()
    seconds = max(now - self._last_time, 1e-9)
    examples = (step - self._last) * self._batch_size / seconds
    metrics = {"examples_per_s": examples, "data_wait": self._waited / seconds,
               "memory_gib": memory() / 2**30}
    if self._tokens:
      metrics |= {"tokens_per_s": self._tokens * jax.process_count() / seconds,
                  "real_tokens": self._real / self._tokens}
    if self._peak:
      metrics["mfu"] = self._flops / seconds / self._peak
    left = (now - self._start) / max(step - self._first, 1) * (self._total - step)
    begins = step == self._begin + 1  # it waited for compilation and the first data: no ETA yet
    print("  ".join([
        f"step {step}/{self._total} ({step / self._total:.0%})", f"{self.shows} {value:.4f}",
        f"{examples:.{0 if examples >= 10 else 2}f} examples/s",
        *([f"{metrics['tokens_per_s']:,.0f} tokens/s ({metrics['real_tokens']:.0%} real)"]
          if self._tokens else []),
        *([f"MFU {metrics['mfu']:.1%}"] if self._peak else []),
        f"data wait {metrics['data_wait']:.0%}", f"{metrics['memory_gib']:.1f} GiB",
        f"ETA {'-' if begins and left else clock(left)}"]), flush=True)
    if begins:
      self._first, self._start = step, now
    if self._begin == 0 and self._losses is not None:
      self._losses.append(value)
      if step >= SO_LONG * self._total and len(self._losses) > 2:
        if min(self._losses) > STILL * self._losses[0]:
          print("warning: the loss has not fallen since the first line: the learning rate may be "
                "far too low, or too high.", flush=True)
        self._losses = None
    self._last, self._last_time, self._waited = step, now, 0.0
    self._tokens = self._real = self._flops = 0
    return metrics


def columns(lines, left=(0,)):
  """Rows of strings as a table; the columns `left` are flush left, the others right."""
  lines = [list(map(printable, line)) for line in lines]
  widths = [max(map(len, column)) for column in zip(*lines)]
  return "\n".join("  ".join(
      cell.ljust(w) if i in left else cell.rjust(w)
      for i, (cell, w) in enumerate(zip(line, widths))).rstrip() for line in lines)


def counter(name, unit="batches", begin=0):
  """A note(done, total) for work in parts: a bar on a terminal, else a line now and then.

  unit: of done and total; "B" for bytes. begin: what a run that this one resumes had done, which
  does not count for the rate and the time that is left.
  """
  import tqdm  # here: slow to import
  name = printable(name)
  units = dict(unit=f" {unit}" if unit != "B" else unit, unit_scale=True,
               unit_divisor=1024 if unit == "B" else 1000)
  began = shown = time.perf_counter()
  bar = None

  def note(done, total):
    nonlocal bar, shown
    now = time.perf_counter()
    if bar is None:
      bar = tqdm.tqdm(desc=name, total=total, initial=done, file=raw(sys.stdout),
                      disable=None, **units)
    if not bar.disable:
      bar.update(done - bar.n)
    elif done == total or now - shown > LINE_SECONDS:
      shown = now
      print(tqdm.tqdm.format_meter(
          done, total, now - began, prefix=name, initial=begin, **units,
          bar_format="{desc}: {n_fmt}/{total_fmt}{unit}, {rate_fmt}, {elapsed}"
                     + ", ETA {remaining}" * (done < total)), flush=True)
    if done == total:
      bar.close()
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
