"""From a config to an optimizer: freezing, schedules and multipliers by regex over parameter names.

A frozen parameter has no gradient and no optimizer state, may be of any dtype, and leaves a step as
it entered, to the bit.
"""
import inspect
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from big_vlm import families, reporting, trees
from big_vlm.families import paligemma
from big_vlm.training import schedules
from pp.names import check_names, pick

SCHEDULE = {"decay": "cosine", "warmup_fraction": 0.05}
EVEN = ((".*", 1.0),)


def adam(b1=0.9, b2=0.999, eps=1e-8, mu_dtype=None):
  """Adam (arXiv 1412.6980) as optax.scale_by_adam, with a state of the same type.

  Where `finite` is False the moments stay. It selects them itself, before the update reads them:
  with a wrapper around optax's, XLA on a CPU copies the old moments first.
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
  def axes(name, _):
    _, spec, part = families.param(name)
    if part or spec.matrix_axes is None:  # adapters, and what is no matrix of a block
      return None
    return optax.contrib.MuonDimensionNumbers(*spec.matrix_axes)
  tx = optax.contrib.muon(
      ratio, adam_learning_rate=1., adam_b1=b1, adam_b2=b2,
      muon_weight_dimension_numbers=lambda params: trees.map_with_names(axes, params), **args)
  return optax.chain(tx, optax.scale(-1.))  # optax's is a whole optimizer and descends already


def adafactor(momentum=None, dtype_momentum="bfloat16", multiply_by_parameter_scale=False, **args):
  """Adafactor (arXiv 1804.04235): second moments as a row and a column per matrix, as in optax.

  momentum: None keeps no first moment; big_vision's keeps 0.9 in bfloat16.
  """
  tx = optax.adafactor(None, momentum=momentum, dtype_momentum=dtype_momentum,
                       multiply_by_parameter_scale=multiply_by_parameter_scale, **args)
  return optax.chain(tx, optax.scale(-1.))  # as muon


def sgd(momentum=0., nesterov=False):
  return optax.trace(momentum, nesterov)


# Update directions; learning rate and weight decay come after. Arguments are optax's.
OPTIMIZERS = {"adamw": adam, "adafactor": adafactor, "lion": optax.scale_by_lion,
              "muon": muon, "sgd": sgd}


class Group(NamedTuple):
  """How a parameter trains; frozen: schedule None."""
  regex: str  # the rule of `schedule` that covers it
  schedule: Callable | None  # step -> factor of the peak rate
  lr: float  # the peak rate, multiplied
  decay: float  # weight decay, multiplied


class Optimizer(NamedTuple):
  # Of the trainable parameters, as partition() gives them; update(..., finite=False) keeps state.
  tx: optax.GradientTransformationExtraArgs
  groups: dict  # {leaf name: Group}, frozen ones too
  lr: float  # the peak rate, without multipliers
  ema: float = 0.  # of the average of the parameters; 0: there is none

  @property
  def trainable(self):
    """The frozenset of the names of trainable parameters."""
    return frozenset(name for name, group in self.groups.items() if group.schedule)

  def rates(self, step):
    """{"lr": ...} of the update after `step` others, without multipliers; with several schedules
    {"lr[REGEX]": ...} of each."""
    found = {g.regex: self.lr * g.schedule(step) for g in self.groups.values() if g.schedule}
    if len(found) == 1:
      return {"lr": next(iter(found.values()))}
    return {f"lr[{regex}]": rate for regex, rate in found.items()}


def make(params, horizon, *, lr, name="adamw", args=None, schedule=SCHEDULE, lr_mults=EVEN,
         weight_decay=0.0, weight_decay_mults=(), clip_norm=1.0, ema=0.0):
  """The Optimizer of a parameter tree (arrays or shapes) for a schedules.TrainingHorizon.

  For trainable parameters, update = -lr * lr_mult * schedule(step) * (direction(clipped gradient) +
  weight_decay * weight_decay_mult * parameter); clipping is by the norm of their gradients alone.

  schedule: a dict of schedules.make, or rules ((regex, dict or None), ...): None freezes, without
  gradient and state. lr_mults and weight_decay_mults: rules ((regex, factor), ...). A regex must
  match all of a name; the first that does counts; each must match some name. weight_decay_mults
  left empty are those of families.weight_decay.

  Raises ValueError for rules that miss a parameter or match none, if nothing is trainable, and for
  an lr that is negative or not finite.
  """
  if isinstance(lr, str) or not 0 <= lr < math.inf:
    raise ValueError(f"The learning rate is {lr!r}: it must be a finite number, 0 or above.")
  groups = _groups(params, horizon, lr, schedule, lr_mults, weight_decay, weight_decay_mults)
  tx = optax.chain(
      _clip(clip_norm) if clip_norm else optax.identity(),
      _direction(name, args or {}),
      _decay_and_scale({n: group for n, group in groups.items() if group.schedule}))
  return Optimizer(tx, groups, lr, ema)


def _direction(name, args):
  make = pick(OPTIMIZERS, name, "optimizer")
  known = list(inspect.signature(make).parameters)
  if "args" not in known:
    check_names(args, known, f"The optimizer {name!r}")
  return make(**args) if make is adam else _keeping(make(**args))


def _keeping(tx):
  """tx with a state that stays where `finite` is False."""
  def update(grads, state, params=None, *, finite=True, **_):
    updates, new = tx.update(grads, state, params)
    return updates, jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, state)
  return optax.GradientTransformationExtraArgs(tx.init, update)


def _clip(limit):
  def update(grads, params=None):
    del params
    factor = limit / jnp.maximum(norm(grads), limit)
    return jax.tree.map(lambda g: (g * factor).astype(g.dtype), grads)
  return optax.stateless(update)


def norm(tree):
  """The Euclidean norm of all leaves together, float32 [].

  By dot products: for a sum of squares XLA on a CPU may write the squares to memory first.
  """
  square = lambda x: jnp.tensordot(x, x, x.ndim, precision="highest",
                                   preferred_element_type=jnp.float32)
  return jnp.sqrt(sum(map(square, jax.tree.leaves(tree))))


def _groups(params, horizon, lr, schedule, lr_mults, weight_decay, weight_decay_mults):
  names = trees.names(params)
  rules = ((".*", schedule),) if isinstance(schedule, dict) else schedule
  regexes = trees.assign(names, [(regex, regex) for regex, _ in rules], "schedule")
  made = {regex: spec and schedules.make(horizon, **spec) for regex, spec in reversed(rules)}
  rates = trees.assign(names, lr_mults, "learning-rate")
  decays = (trees.assign(names, weight_decay_mults, "weight-decay") if weight_decay_mults else
            {n: families.weight_decay(n) for n in names})
  can_train = _can_train(params)
  groups = {n: Group(regexes[n], made[regexes[n]] if can_train[n] else None, lr * rates[n],
                     weight_decay * decays[n]) for n in names}
  if not any(group.schedule for group in groups.values()):
    asked = [n for n in names if made[regexes[n]]]
    why = (f"the {len(asked)} leaves that it covers hold integers, e.g. {asked[0]}" if asked
           else "no rule has a schedule")
    raise ValueError(f"schedule={rules!r} leaves no parameter trainable: {why}.")
  return groups


def _can_train(params):
  """{name: bool}: False for integers, which are quantized weights, and for their scales."""
  leaves = dict(zip(trees.names(params), jax.tree.leaves(params)))
  return {n: bool(jnp.issubdtype(x.dtype, jnp.floating))
          and not (n.endswith("/scale") and f"{n.removesuffix('scale')}q" in leaves)
          for n, x in leaves.items()}


def _decay_and_scale(groups):
  def update(updates, state, params, *, finite=True, **_):
    step = state.count
    # Once, not for every leaf: that took a sixth of the lines of a small step.
    factors = {s: s(step) for s in dict.fromkeys(g.schedule for g in groups.values())}

    def one(name, u, p):
      g = groups[name]
      return -g.lr * factors[g.schedule] * (u + g.decay * p if g.decay else u)
    updates = trees.map_with_names(one, updates, params)
    return updates, optax.ScaleByScheduleState(step + finite)
  return optax.GradientTransformationExtraArgs(
      lambda params: optax.ScaleByScheduleState(jnp.zeros((), jnp.int32)), update)


def weight_flops(optimizer):
  """{"img/", "txt/", "llm/": FLOPs of a step per weight and token}, by part: 6 where any of its
  weights train, 4 where a gradient only passes, to adapters or on from the decoder to the tower, 2
  where none does."""
  weights = {name for name in optimizer.trainable if not name.endswith(("/lora_a", "/lora_b"))}

  def of(prefix, behind):
    if any(name.startswith(prefix) for name in weights):
      return 6
    return 4 if any(name.startswith(behind) for name in optimizer.trainable) else 2
  return {"img/": of("img/", "img/"), "txt/": of("txt/", "txt/"),
          "llm/": of("llm/", ("llm/", "img/"))}


def table(params, optimizer):
  """A table of the parameters: a line for each part of the model and way that it trains."""
  state = jax.eval_shape(optimizer.tx.init, partition(params, optimizer.trainable)[0])
  held = dict(zip(trees.names(state), jax.tree.leaves(state)))
  lines = {}
  for name, leaf in zip(trees.names(params), jax.tree.leaves(params)):
    group = optimizer.groups[name]
    how = ((f"{group.lr:g}", f"{group.decay:g}") if group.schedule else ("frozen", ""))
    line = lines.setdefault((paligemma.part(name), group.regex, str(leaf.dtype), *how), [0, 0, 0])
    line[0] += 1
    line[1] += math.prod(leaf.shape)
    line[2] += sum(x.size * x.dtype.itemsize for n, x in held.items() if n.endswith("/" + name))
  rows = [(part, regex, f"{n:,}", f"{size:,}", dtype, lr, decay, f"{state / 1e6:,.1f}")
          for (part, regex, dtype, lr, decay), (n, size, state) in lines.items()]
  head = ("part", "rule", "leaves", "parameters", "dtype", "lr", "decay", "state MB")
  trainable = sum(n for (*_, lr, _), (_, n, _) in lines.items() if lr != "frozen")
  total = sum(n for _, n, _ in lines.values())
  return (reporting.columns([head, *rows], left=(0, 1, 4))
          + f"\n{trainable:,} of {total:,} parameters train ({trainable / total:.2%})")


def partition(params, trainable):
  """(trainable, frozen) parameters: two nested dicts of leaves under their names."""
  parts = {}, {}
  for name, leaf in zip(trees.names(params), jax.tree.leaves(params)):
    parts[name not in trainable][name] = leaf
  return tuple(map(trees.nested, parts))


def combine(like, *parts):
  """The reverse of partition(): the leaves of the parts in a tree of the structure of like."""
  leaves = {name: leaf for part in parts
            for name, leaf in zip(trees.names(part), jax.tree.leaves(part))}
  return trees.map_with_names(lambda name, _: leaves[name], like)
