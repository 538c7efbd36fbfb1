"""SIGTERM and SIGINT end a run after the step that is under way: saved, with a status that says so.

The status is 143 after SIGTERM and 130 after SIGINT (128 + the signal's number), not 0: what comes
after a whole training must not come after half of one, and schedulers start such a job again. Of
several processes one may hear of it first: all stop after the same step, with 143.
"""
import os
import signal
import threading

import jax
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class PreemptionHandler:
  """A context in which the first signal is remembered; a second one ends the process at once."""

  def __init__(self):
    self._got = None
    self._before = {}

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      # With several processes JAX listens to SIGTERM and agrees on a step with the others.
      mine = SIGNALS if jax.process_count() == 1 else (signal.SIGINT,)
      self._before = {s: signal.signal(s, self._heard) for s in mine}
    return self

  def __exit__(self, *error):
    for s, handler in self._before.items():
      signal.signal(s, handler)

  def _heard(self, number, frame):
    del frame
    for s in SIGNALS if jax.process_count() == 1 else (number,):
      signal.signal(s, signal.SIG_DFL)
    self._got = number
    print(f"{signal.Signals(number).name}: stopping after this step; once more to stop at once",
          flush=True)
    if jax.process_count() > 1:
      os.kill(os.getpid(), signal.SIGTERM)

  def should_stop(self, step):
    """Whether the run stops after this step: the same answer on all processes.

    To be called once after every step.
    """
    if jax.process_count() == 1:
      return self._got is not None
    reached = multihost_utils.reached_preemption_sync_point(step)
    if reached:
      self._got = signal.SIGTERM
      signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return reached

  @property
  def status(self):
    """The exit status of a run that was stopped."""
    return 128 + self._got
