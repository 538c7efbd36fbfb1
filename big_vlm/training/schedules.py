"""Learning-rate schedules, and durations in steps, examples, epochs or as a fraction of a training.

A schedule is a dict: decay names a row of DECAYS, whose arguments stand beside it; the rate rises
over its warm-up and falls over its cool-down, both linearly:

  dict(decay="cosine", warmup_fraction=0.05)
  dict(decay="rsqrt", warmup_steps=1000, timescale=10_000, cooldown_examples=1_000_000)

Where big_vision's schedule starts at a rate of 0, the first update here is above 0.
"""
import inspect
import math
import numbers
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from big_vlm.config_fields import MOST
from pp.names import check_names, pick

UNITS = ("steps", "examples", "epochs", "fraction")


class TrainingHorizon(NamedTuple):
  """How long a training is: durations refer to it."""
  total: int | None = None  # steps
  batch_size: int | None = None
  epoch: int | None = None  # examples

  def steps(self, prefix, settings, default=None):
    """Steps of prefix_{steps, examples, epochs, fraction} in settings, at least 1 unless 0.

    fraction: of all steps, 0 to 1. Raises ValueError for two units at once, and for one that the
    training does not define, such as epochs of an endless source.
    """
    if settings.get(f"{prefix}_percent") is not None:
      raise ValueError(f"{prefix}_percent is now {prefix}_fraction.")
    given = [u for u in UNITS if settings.get(f"{prefix}_{u}") is not None]
    if not given:
      return default
    if len(given) > 1:
      raise ValueError(f"Give either {' or '.join(f'{prefix}_{u}' for u in given)}, and set the "
                       "other to None.")
    unit, value = given[0], settings[f"{prefix}_{given[0]}"]
    ratio = {"steps": (1, 1), "examples": (1, self.batch_size), "fraction": (self.total, 1),
             "epochs": (self.epoch, self.batch_size)}[unit]
    if not all(ratio):
      raise ValueError(f"{prefix}_{unit}={value} cannot be converted to steps here: give "
                       f"{prefix}_steps.")
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or math.isnan(value):
      raise ValueError(f"{prefix}_{unit}={value!r} is not a number.")
    if value < 0 or unit == "fraction" and value > 1:
      bounds = "in 0 to 1" if unit == "fraction" else "0 or above"
      raise ValueError(f"{prefix}_{unit}={value} is not {bounds}.")
    if (count := value * ratio[0] / ratio[1]) >= MOST:
      raise ValueError(f"{prefix}_{unit}={value} are {count:.3g} steps: the most are {MOST:,}.")
    return max(round(count), 1) if value else 0


# Each is (progress from 0 to 1 after the warm-up, steps after the warm-up, arguments) -> factor.
# Before the warm-up's end progress and steps are 0.


def polynomial(progress, step, power=1., end=0.):
  """From 1 to `end`, a fraction of the peak."""
  return end + (1 - end) * (1 - progress) ** power


def rsqrt(progress, step, timescale=10_000, shift=0):
  """1 / sqrt(1 + (step + shift) / timescale): never ends, so that stages can be chained.

  A stage that continues another after n steps, without a warm-up, has shift n.
  """
  return 1 / jnp.sqrt(1 + (step + shift) / timescale)


def piecewise_constant(progress, step, steps=(), mults=()):
  """mults[i] from steps[i] after the warm-up on."""
  if len(steps) != len(mults) or list(steps) != sorted(steps):
    raise ValueError("piecewise_constant has a factor for each of its rising steps, not "
                     f"{steps=}, {mults=}.")
  return jnp.array([1., *mults])[jnp.searchsorted(jnp.array(steps), step, side="right")]


DECAYS = {
    "constant": lambda progress, step: jnp.ones(()),
    "cosine": lambda progress, step: 0.5 * (1 + jnp.cos(jnp.pi * progress)),
    "linear": polynomial, "polynomial": polynomial, "rsqrt": rsqrt,
    "piecewise_constant": piecewise_constant,
}


def make(horizon, decay=None, **settings):
  """step (0: the first update) -> factor of the peak rate, float32 []; settings: see above."""
  shape = pick(DECAYS, decay, "schedule")
  durations = [f"{p}_{u}" for p in ("warmup", "cooldown") for u in UNITS]
  warmup, cooldown = (horizon.steps(p, settings, default=0) for p in ("warmup", "cooldown"))
  args = {k: v for k, v in settings.items() if k not in durations}
  check_names(args, [*list(inspect.signature(shape).parameters)[2:], *durations],
              f"The schedule {decay!r}")
  if warmup + cooldown > horizon.total:
    raise ValueError(f"A warm-up of {warmup} steps and a cool-down of {cooldown} do not fit a "
                     f"training of {horizon.total}.")

  def factor(step):
    after = jnp.maximum(step - warmup, 0.)
    value = shape(jnp.clip(after / max(horizon.total - warmup, 1), 0, 1), after, **args)
    rise = jnp.minimum((step + 1) / max(warmup, 1), 1.)
    fall = jnp.clip((horizon.total - step) / max(cooldown, 1), 0., 1.) if cooldown else 1.
    return value * rise * fall
  at = np.linspace(0, horizon.total, 101).round()  # to the end: there power=-1 is infinite
  try:
    values = np.broadcast_to(factor(at), at.shape)
  except TypeError as e:  # of an argument that is a text
    raise ValueError(f"The schedule {decay!r} with {args}: {e}.") from e
  wrong = np.flatnonzero(~((0 <= values) & (values < np.inf)))
  if wrong.size:
    raise ValueError(f"The schedule {decay!r} with {args} is {values[wrong[0]]:.3g} times the rate "
                     f"at step {at[wrong[0]]:.0f}: it must be a number, 0 or above.")
  return factor
