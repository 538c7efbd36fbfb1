"""A profile of some steps of a training."""
import contextlib
import tempfile

import jax
from etils import epath

from big_vlm import files


class Trace:
  """A profile of some steps in WORKDIR/profile, for xprof or TensorBoard's profile page."""

  def __init__(self, workdir, start_step, steps=None):
    """steps: how many; they begin with the third, when all is compiled. None: no profile."""
    self._folder = epath.Path(workdir) / "profile"
    # JAX writes a profile to a disk alone.
    self._written = self._folder if files.is_local(workdir) else epath.Path(tempfile.mkdtemp())
    self._first = start_step + 3
    self._last = self._first + int(steps) - 1 if steps else 0

  @contextlib.contextmanager
  def step(self, step):
    """Around a step; gives a function that takes the step's results and hands them on."""
    if not self._last:
      yield lambda results: results
      return
    if step == self._first:
      jax.profiler.start_trace(str(self._written))
    with jax.profiler.StepTraceAnnotation("train", step_num=step):
      yield jax.block_until_ready if step == self._last else lambda results: results
    if step == self._last:
      jax.profiler.stop_trace()
      if self._written != self._folder:
        files.copy_folder(self._written, self._folder)
      print(f"profile of steps {self._first} to {step}: xprof --logdir {self._folder}")
