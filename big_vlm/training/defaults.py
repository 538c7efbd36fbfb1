"""What a fine-tuning takes where it names nothing: by the size of the model and of the data.

  parameters   example           learning rate   of adapters   steps, at least
     1.3 M     digits                     1e-3          3e-3               300
     2.9 B     PaliGemma 3B               1e-5          2e-4                64

Between the two sizes the logarithm of a value goes along a line over that of the size, beyond them
the value stays; two digits of it count. The first row is measured (configs/quickstart.py,
docs/own_data.md), the second published: the rate of PaliGemma's transfers (arXiv 2407.07726,
appendix J), and the steps of big_vision's notebook that fine-tunes it on 90 images.
"""
import functools
import math
from typing import NamedTuple

import numpy as np

from big_vlm import reporting
from big_vlm.data import mixture

SIZES = (1.325e6, 2.9e9)
RATES, ADAPTERS, STEPS = (1e-3, 1e-5), (3e-3, 2e-4), (300, 64)
EPOCHS = 10  # where they are more than STEPS; the median of PaliGemma's transfers
BATCH = 32  # as in big_vision's forkme.py
SMALL_BATCH, STEPS_OF_EPOCH = 8, 8  # halved down to it, until an epoch has so many steps


class Default(NamedTuple):
  value: object
  reason: str


RESOLUTION = Default(224, "the fastest; documents and small things need res=448 or res=896")


def learning_rate(parameters, adapters=False):
  """The Default of AdamW's peak rate; adapters: LoRA alone trains."""
  rates = ADAPTERS if adapters else RATES
  what = "adapters" if adapters else "all"
  return Default(_by_size(parameters, rates),
                 f"for {what} of {count(parameters)} parameters; PaliGemma 3B takes {rates[1]:g}")


def batch_size(examples, most=None):
  """The Default of the examples in a batch, of all devices together; examples: None if unknown.

  most: the Default of many examples; None: of a decoder's training.
  """
  most = most or Default(BATCH, "as big_vision's forkme.py, for a model of any size")
  size = most.value
  while examples and size > SMALL_BATCH and examples < size * STEPS_OF_EPOCH:
    size //= 2
  if size == most.value:
    return most
  return Default(size, f"{examples:,} examples are {examples / most.value:.1f} batches of "
                       f"{most.value}")


def duration(parameters, examples, batch=None):
  """{"total_steps" or "total_epochs": its Default}; batch: its size, that of batch_size(examples).

  examples: of an epoch; None if unknown.
  """
  fewest, batch = _by_size(parameters, STEPS), batch or batch_size(examples).value
  if examples is None or examples * EPOCHS >= fewest * batch:
    return {"total_epochs": Default(float(EPOCHS), "the median of PaliGemma's transfers")}
  return {"total_steps": Default(
      fewest, f"{count(parameters)} parameters need them, and {EPOCHS} epochs have "
      f"{math.ceil(examples * EPOCHS / batch)} steps")}


def examples(components):
  """Of an epoch of a mixture; None where the data cannot be read, which the training says."""
  try:
    return mixture.epoch(components)
  except (ValueError, OSError):
    return None


def _by_size(parameters, values):
  value = math.exp(np.interp(math.log(parameters), np.log(SIZES), np.log(values)))
  return float(f"{value:.1e}")


def count(parameters):
  """count(1_300_000) -> "1.3 M"."""
  unit = "B" if parameters >= 1e9 else "M"
  return f"{parameters / (1e9 if unit == 'B' else 1e6):.1f} {unit}"


def set_fields(config, fields):
  """Sets {"optimizer.lr": value or Default, ...}, and config.defaults for table()."""
  plain = {name: x.value if isinstance(x, Default) else x for name, x in fields.items()}
  config.update_from_flattened_dict(plain)
  config.defaults = tuple((n, *x) for n, x in fields.items() if isinstance(x, Default))


def table(config):
  """The fields that still have the values of config.defaults, and why; "" if there are none."""
  rows = [(f"config.{name}", f"{value:g}", reason) for name, value, reason in config.defaults
          if functools.reduce(lambda at, field: at[field], name.split("."), config) == value]
  return reporting.columns([("default", "value", "reason"), *rows], left=(0, 2)) if rows else ""
