"""What an answer earns in tuning: the metrics of the evaluators by name, and functions of a user.

config.tune.rewards is a list, whose weighted sum counts:

  dict(name="detection", weight=1.)              a type of evaluators/common.py, with its arguments
  dict(name="vqa", metric="anls", weight=.5)
  dict(name="my.rewards:brief", weight=.1)       brief(answer: str, example: dict) -> float

The reward of a type is the "score" that it gives each prediction, as the report shows it: exact
match, counting, ANLS and the other metrics of short answers, a caption's CIDEr (the document
frequencies are those of the references of the batch), the IoU of a mask, the tree accuracy of JSON.
A module with a reward(predictions, tokenizer, **args) -> [float] gives that instead: detection,
the mean of objects found over IoU thresholds. The `example` of a user's function has the keys that
the pp string keeps.
"""
import functools
import importlib
import inspect
import math
import numbers

import numpy as np

from evaluators import common
from pp.names import check_names

_DTYPES = {"bool", "bfloat16", *(f"{kind}{bits}" for kind in ("int", "uint", "float")
                                  for bits in (8, 16, 32, 64))}  # of arrays of shape []
MOST = 1e15  # so that the squares of differences of a group stay below float32's 3e38


class Rewards:
  """The rewards of a config. Raises ValueError for one that makes no sense.

  names: of the rewards, as they are in the metrics: that of a function without its module.
  """

  def __init__(self, rewards, tokenizer):
    self._tokenizer, self._each, self.names = tokenizer, [], []
    for i, given in enumerate(rewards):
      if not hasattr(given, "keys"):
        raise ValueError(f"config.tune.rewards[{i}] is {given!r:.60}: give a dict, such as "
                         "dict(name='detection').")
      args = dict(given)
      name, weight = args.pop("name", None), args.pop("weight", 1.)
      if not isinstance(name, str):
        raise ValueError(f"config.tune.rewards[{i}] has no name, such as name='detection'.")
      if not isinstance(weight, (int, float)) or not math.isfinite(weight):
        raise ValueError(f"The reward {name!r} has weight={weight!r}, not a finite number.")
      make = _of_function if ":" in name else _of_type
      self._each.append((name, weight, make(name, **args)))
      short = name.rpartition(":")[2]
      self.names.append(f"{short}#{i}" if short in self.names else short)

  def __call__(self, predictions):
    """(float32 [N]: the weighted sum, {name: float32 [N]}) of N predictions.

    Raises ValueError that names the reward and the example where one fails, or is no number.
    """
    found = {}
    for short, (name, weight, reward) in zip(self.names, self._each):
      values = reward(predictions, self._tokenizer)
      if not isinstance(values, (list, tuple, np.ndarray)) or len(values) != len(predictions):
        raise ValueError(f"The reward {name!r} gave {_shown(values)} for {len(predictions)} "
                         "answers: it must give a list of one number for each.")
      found[short] = np.array([_number(name, v, p, weight) for v, p in
                               zip(values, predictions)], np.float32)
    total = sum(np.float32(w) * found[short] for short, (_, w, _) in zip(self.names, self._each))
    return total, found


def _number(name, value, prediction, weight):
  number = (isinstance(value, (numbers.Real, np.bool_)) and not isinstance(value, np.timedelta64)
            or getattr(value, "shape", None) == () and value.dtype.name in _DTYPES)
  try:
    found = float(value) if number else math.nan
  except OverflowError:  # of a whole number
    found = MOST
  if math.isfinite(found):
    if max(1, abs(weight)) * abs(found) < MOST:
      return found
    raise ValueError(f"The reward {name!r} of the example {prediction.get('id')!r} is {value!r:.60}"
                     f" with the weight {weight!r}: it must stay below {MOST:g}.")
  undefined = "; the type leaves it undefined for this batch" * (value is None and ":" not in name)
  raise ValueError(f"The reward {name!r} of the example {prediction.get('id')!r} is "
                   f"{_shown(value)}, not a finite number{undefined}. The answer was "
                   f"{prediction['prediction']!r:.80}.")


def _shown(value):
  shape = getattr(value, "shape", None)
  return f"an array of shape {list(shape)}" if shape else f"{value!r:.60}"


def _of_function(name, **args):
  module, _, function = name.partition(":")
  try:
    call = getattr(importlib.import_module(module), function)
  except (Exception, SystemExit) as e:  # the module runs as it is imported
    raise ValueError(f"The reward {name!r} cannot be imported: {e}. It is \"module:function\", of "
                     "a module that Python finds from here, such as my.rewards:brief in the file "
                     "my/rewards.py.") from e
  if not callable(call):
    raise ValueError(f"The reward {name!r} is {call!r:.60}, not a function.")
  call = functools.partial(call, **args)

  def reward(predictions, tokenizer):
    del tokenizer
    return [_called(name, call, p) for p in predictions]
  return reward


def _called(name, call, p):
  try:
    return call(p["prediction"], {k: v for k, v in p.items() if k not in _OF_ANSWER})
  except (Exception, SystemExit) as e:  # an exit would end the run as if it were finished
    raise ValueError(f"The reward {name!r} failed for the example {p.get('id')!r}, with the answer "
                     f"{p['prediction']!r:.80}: {type(e).__name__}: {e}") from e


_OF_ANSWER = ("prediction", "tokens", "logprobs", "finish_reason", "image", "whole")


def _of_type(name, **args):
  module = common.module_of(name)
  reward = getattr(module, "reward", None)
  if (hasattr(module, "likelihoods") or hasattr(module, "TOWERS") or
      not reward and name == "submission"):
    raise ValueError(f"The evaluator {name!r} gives an answer no score, so it is no reward.")
  known = inspect.signature(reward or module.score).parameters
  check_names(args, list(known)[2:], f"The reward {name!r}")
  if missing := [p.name for p in list(known.values())[2:]
                 if p.default is p.empty and p.name not in args]:
    raise ValueError(f"The reward {name!r} needs {missing[0]}=.")
  if not reward and hasattr(module, "check"):
    module.check(**args)
  return functools.partial(reward, **args) if reward else functools.partial(
      _scores, name, module, args)


def _scores(name, module, args, predictions, tokenizer):
  scored = [dict(p) for p in predictions]  # score() writes into them
  module.score(scored, tokenizer, **args)
  if any("score" not in p for p in scored):
    raise ValueError(f"The evaluator {name!r} gives an answer no score, so it is no reward.")
  return [p["score"] for p in scored]
