"""From a config to an optimizer: one update rule; what trains, schedules, multipliers by regex.

A leaf that does not train is frozen: it has no gradient and no optimizer state, may be of any
dtype, and comes out of a step as it went in, to the bit.
"""
import inspect
import math
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from big_vlm import reporting, trees
from big_vlm.adapt import lora
from big_vlm.training import schedules
from pp.names import check_names, pick

SCHEDULE = {"decay": "cosine", "warmup_percent": 0.05}
EVEN = ((".*", 1.0),)

# What decays: products, not scales, biases or position tables.
DECAY = (("(.*/)?(scale|bias|pos_embedding)", 0.0), (".*", 1.0))


# Which axes of our stacked weights make the matrix that Muon turns orthogonal: (in, out); the
# others (layers, heads where they are outputs of their own, gate and up) are separate matrices.
MUON_AXES = (
    ("(.*/)?q_einsum/w", optax.contrib.MuonDimensionNumbers(2, (1, 3))),
    ("(.*/)?q?kv_einsum/w", optax.contrib.MuonDimensionNumbers(3, (2, 4))),
    ("(.*/)?attn_vec_einsum/w", optax.contrib.MuonDimensionNumbers((1, 2), 3)),
    ("(.*/)?gating_einsum", optax.contrib.MuonDimensionNumbers(2, 3)),
    ("(.*/)?mlp/linear", optax.contrib.MuonDimensionNumbers(1, 2)),
    ("(.*/)?encoderblock/.*/(query|key|value)/kernel",
     optax.contrib.MuonDimensionNumbers(1, (2, 3))),
    ("(.*/)?encoderblock/.*/out/kernel", optax.contrib.MuonDimensionNumbers((1, 2), 3)),
    ("(.*/)?encoderblock/.*/Dense_[01]/kernel", optax.contrib.MuonDimensionNumbers(1, 2)),
)


def adam(b1=0.9, b2=0.999, eps=1e-8, mu_dtype=None):
  """Adam (arXiv 1412.6980) as optax.scale_by_adam, of whose kind its state is.

  Where `finite` is False the moments stay. It asks for that itself, before it reads the moments
  anew for the update: on a CPU the old ones would else have to be copied first.
  """
  def init(params):
    zeros = lambda dtype: jax.tree.map(lambda x: jnp.zeros_like(x, dtype=dtype), params)
    return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), zeros(mu_dtype), zeros(None))

  def update(grads, state, params=None, *, finite=True, **_):
    del params
    kept = lambda new, old: jnp.where(finite, new, old).astype(old.dtype)
    mu = jax.tree.map(lambda m, g: kept(b1 * m + (1 - b1) * g, m), state.mu, grads)
    nu = jax.tree.map(lambda v, g: kept(b2 * v + (1 - b2) * g * g, v), state.nu, grads)
    count = state.count + finite
    scale1, scale2 = 1 - b1 ** count, 1 - b2 ** count
    updates = jax.tree.map(lambda m, v: m / scale1 / (jnp.sqrt(v / scale2) + eps), mu, nu)
    return updates, optax.ScaleByAdamState(count, mu, nu)
  return optax.GradientTransformationExtraArgs(init, update)


def muon(ratio=10., b1=0.9, b2=0.999, **args):
  """Muon (Jordan et al. 2024) for the blocks' matrices, Nesterov Adam for all else, as in optax.

  ratio: the matrices' learning rate over that of the rest.
  """
  def axes(params):
    return trees.map_with_names(lambda name, _: next(
        (numbers for regex, numbers in MUON_AXES if re.fullmatch(regex, name)), None), params)
  rule = optax.contrib.muon(ratio, adam_learning_rate=1., adam_b1=b1, adam_b2=b2,
                            muon_weight_dimension_numbers=axes, **args)
  return optax.chain(rule, optax.scale(-1.))  # optax's is a whole optimizer and descends already


def adafactor(momentum=None, dtype_momentum="bfloat16", multiply_by_parameter_scale=False, **args):
  """Adafactor (arXiv 1804.04235): second moments as a row and a column per matrix, as in optax.

  momentum: None keeps no first moment; big_vision's keeps 0.9 in bfloat16.
  """
  rule = optax.adafactor(None, momentum=momentum, dtype_momentum=dtype_momentum,
                         multiply_by_parameter_scale=multiply_by_parameter_scale, **args)
  return optax.chain(rule, optax.scale(-1.))  # as muon


def sgd(momentum=0., nesterov=False):
  return optax.trace(momentum, nesterov)


# Directions; the learning rate and the decay of weights come after. Arguments are optax's.
OPTIMIZERS = {"adamw": adam, "adafactor": adafactor, "lion": optax.scale_by_lion,
              "muon": muon, "sgd": sgd}


class Group(NamedTuple):
  """How a parameter trains; frozen: schedule None."""
  regex: str  # the rule of `schedule` that it is under
  schedule: Callable | None  # step -> factor of the peak rate
  lr: float  # the peak rate, multiplied
  decay: float  # weight decay, multiplied


class Optimizer(NamedTuple):
  # Over the leaves that train, as split() gives them; update(..., finite=False) leaves its state.
  rule: optax.GradientTransformationExtraArgs
  groups: dict  # {leaf name: Group}, frozen ones too
  lr: float  # the peak rate, without multipliers
  ema: float = 0.  # of the average of the parameters; 0: there is none

  @property
  def trains(self):
    """The frozenset of the names of leaves that train."""
    return frozenset(name for name, group in self.groups.items() if group.schedule)

  def rates(self, step):
    """{"lr": ...} of the update after `step` others, multipliers left out; where several schedules
    are at work, {"lr[REGEX]": ...} of each."""
    found = {g.regex: self.lr * g.schedule(step) for g in self.groups.values() if g.schedule}
    if len(found) == 1:
      return {"lr": next(iter(found.values()))}
    return {f"lr[{regex}]": rate for regex, rate in found.items()}


def make(params, run, *, lr, name="adamw", args=None, schedule=SCHEDULE, lr_mults=EVEN,
         weight_decay=0.0, decay_mults=DECAY, clip_norm=1.0, ema=0.0):
  """The Optimizer of a parameter tree (arrays or shapes) for a schedules.Run.

  For the leaves that train, update = -lr * lr_mult * schedule(step) * (rule(clipped gradient) +
  weight_decay * decay_mult * parameter); clipping is by the norm of their gradients alone.

  schedule: a dict of schedules.make, or rules ((regex, dict or None), ...): None freezes, without
  gradient and state. lr_mults and decay_mults: rules ((regex, factor), ...). A regex must match all
  of a name; the first that does counts; each must match some name.

  Raises ValueError for rules that miss a parameter or match none, and if nothing would train.
  """
  groups = _groups(params, run, lr, schedule, lr_mults, weight_decay, decay_mults)
  trains = [n for n, group in groups.items() if group.schedule]
  rule = optax.chain(
      _clip(clip_norm) if clip_norm else optax.identity(),
      _direction(name, args or {}),
      _decay_and_scale({n: groups[n] for n in trains}))
  return Optimizer(rule, groups, lr, ema)


def _direction(name, args):
  make = pick(OPTIMIZERS, name, "optimizer")
  known = list(inspect.signature(make).parameters)
  if "args" not in known:
    check_names(args, known, f"The optimizer {name!r}")
  return make(**args) if make is adam else _keeping(make(**args))


def _keeping(rule):
  """The rule with a state that stays where `finite` is False."""
  def update(grads, state, params=None, *, finite=True, **_):
    updates, new = rule.update(grads, state, params)
    return updates, jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, state)
  return optax.GradientTransformationExtraArgs(rule.init, update)


def _clip(limit):
  def update(grads, params=None):
    del params
    factor = limit / jnp.maximum(norm(grads), limit)
    return jax.tree.map(lambda g: (g * factor).astype(g.dtype), grads)
  return optax.stateless(update)


def norm(tree):
  """The Euclidean norm of all leaves together, float32 [].

  As products: of a sum of squares XLA on a CPU may write the squares to memory first.
  """
  square = lambda x: jnp.tensordot(x, x, x.ndim, precision="highest",
                                   preferred_element_type=jnp.float32)
  return jnp.sqrt(sum(map(square, jax.tree.leaves(tree))))


def _groups(params, run, lr, schedule, lr_mults, weight_decay, decay_mults):
  names = trees.names(params)
  rules = ((".*", schedule),) if isinstance(schedule, dict) else schedule
  regexes = trees.assign(names, [(regex, regex) for regex, _ in rules], "schedule")
  made = {regex: spec and schedules.make(run, **spec) for regex, spec in reversed(rules)}
  rates = trees.assign(names, lr_mults, "learning-rate")
  decays = trees.assign(names, decay_mults, "weight-decay")
  able = _trainable(params)
  groups = {n: Group(regexes[n], made[regexes[n]] if able[n] else None, lr * rates[n],
                     weight_decay * decays[n]) for n in names}
  if not any(group.schedule for group in groups.values()):
    asked = [n for n in names if made[regexes[n]]]
    why = (f"the {len(asked)} leaves that it asks for hold integers, e.g. {asked[0]}" if asked
           else "no rule has a schedule")
    raise ValueError(f"schedule={rules!r} lets nothing train: {why}.")
  return groups


def _trainable(params):
  """{name: bool}: not integers, which are quantized weights, nor the scales beside them."""
  leaves = dict(zip(trees.names(params), jax.tree.leaves(params)))
  return {n: bool(jnp.issubdtype(x.dtype, jnp.floating))
          and not (n.endswith("/scale") and f"{n.removesuffix('scale')}q" in leaves)
          for n, x in leaves.items()}


def _decay_and_scale(groups):
  def update(updates, state, params, *, finite=True, **_):
    step = state.count

    def one(name, u, p):
      g = groups[name]
      return -g.lr * g.schedule(step) * (u + g.decay * p if g.decay else u)
    updates = trees.map_with_names(one, updates, params)
    return updates, optax.ScaleByScheduleState(step + finite)
  return optax.GradientTransformationExtraArgs(
      lambda params: optax.ScaleByScheduleState(jnp.zeros((), jnp.int32)), update)


def table(params, optimizer):
  """What trains and how, for a person: a line for each part of the model and way of training."""
  state = jax.eval_shape(optimizer.rule.init, split(params, optimizer.trains)[0])
  held = dict(zip(trees.names(state), jax.tree.leaves(state)))
  lines = {}
  for name, leaf in zip(trees.names(params), jax.tree.leaves(params)):
    group = optimizer.groups[name]
    how = ((f"{group.lr:g}", f"{group.decay:g}") if group.schedule else ("frozen", ""))
    line = lines.setdefault((lora.part(name), group.regex, str(leaf.dtype), *how), [0, 0, 0])
    line[0] += 1
    line[1] += math.prod(leaf.shape)
    line[2] += sum(x.size * x.dtype.itemsize for n, x in held.items() if n.endswith("/" + name))
  rows = [(part, regex, f"{n:,}", f"{size:,}", dtype, lr, decay, f"{state / 1e6:,.1f}")
          for (part, regex, dtype, lr, decay), (n, size, state) in lines.items()]
  head = ("part", "rule", "leaves", "parameters", "dtype", "lr", "decay", "state MB")
  trained = sum(n for (*_, lr, _), (_, n, _) in lines.items() if lr != "frozen")
  total = sum(n for _, n, _ in lines.values())
  return (reporting.columns([head, *rows], left=(0, 1, 4))
          + f"\n{trained:,} of {total:,} parameters train ({trained / total:.2%})")


def split(params, trains):
  """(what trains, what is frozen): two nested dicts of leaves under their names."""
  parts = {}, {}
  for name, leaf in zip(trees.names(params), jax.tree.leaves(params)):
    parts[name not in trains][name] = leaf
  return tuple(map(trees.nested, parts))


def join(like, *parts):
  """The leaves of the parts of split(), in a tree of the structure of like: split() undone."""
  leaves = {name: leaf for part in parts
            for name, leaf in zip(trees.names(part), jax.tree.leaves(part))}
  return trees.map_with_names(lambda name, _: leaves[name], like)
