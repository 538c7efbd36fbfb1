"""From a config to an optimizer: what trains, one schedule, one update rule, multipliers by regex.

A leaf that does not train is frozen: it has no gradient and no optimizer state, may be of any
dtype, and comes out of a step as it went in, to the bit.
"""
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from big_vlm import trees
from pp.registry import pick

TRAINABLE = ((".*", True),)

# What decays: products, not scales, biases or position tables.
DECAY = (("(.*/)?(scale|bias|pos_embedding)", 0.0), (".*", 1.0))


def cosine(peak, steps, warmup):
  return optax.cosine_decay_schedule(peak, max(steps - warmup, 1))


def constant(peak, steps, warmup):
  del steps, warmup
  return optax.constant_schedule(peak)


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


SCHEDULES = {"cosine": cosine, "constant": constant}
OPTIMIZERS = {"adamw": optax.scale_by_adam, "lion": optax.scale_by_lion, "muon": muon,
              "sgd": optax.trace}


def make_schedule(name, peak, steps, warmup):
  """step -> learning rate; warm-up rises linearly, and its first step is above zero."""
  if not 0 <= warmup <= steps:
    raise ValueError(f"A warm-up of {warmup} steps does not fit a run of {steps}.")
  rest = pick(SCHEDULES, name, "schedule")(peak, steps, warmup)
  rise = lambda step: peak * (step + 1) / max(warmup, 1)
  return optax.join_schedules([rise, rest], [warmup])


class Optimizer(NamedTuple):
  rule: optax.GradientTransformation  # over the leaves that train, as split() gives them
  rate: Callable  # step -> learning rate
  trains: frozenset  # names of the leaves that train


def make(params, *, lr, total_steps, name="adamw", args=None, schedule="cosine", warmup=0,
         weight_decay=0.0, decay_rules=DECAY, clip_norm=1.0, trainable=TRAINABLE):
  """The Optimizer of a parameter tree (arrays or shapes).

  update = -lr(step) * (rule(clipped gradient) + weight_decay * multiplier * parameter), for the
  leaves that train; clipping is by the norm of their gradients alone.
  """
  rate = make_schedule(schedule, lr, total_steps, warmup)
  factors = trees.assign(trees.names(params), decay_rules, "weight-decay")
  trains = trained_names(params, trainable)
  mask = trees.map_with_names(lambda n, _: factors[n] > 0, split(params, trains)[0])
  rule = optax.chain(
      optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
      pick(OPTIMIZERS, name, "optimizer")(**(args or {})),
      optax.add_decayed_weights(weight_decay, mask),
      optax.scale_by_learning_rate(rate))
  return Optimizer(rule, rate, trains)


def trained_names(params, rules):
  """The frozenset of names that rules ((regex, True or False), ...) let train.

  Leaves of integers, which are quantized weights, never do, nor do the scales beside them. Raises
  ValueError if nothing is left.
  """
  wanted = trees.assign(trees.names(params), rules, "trainable")
  scales = {f"{name[:-1]}scale" for name in wanted if name.endswith("/q")}
  trains = frozenset(name for name, leaf in zip(wanted, jax.tree.leaves(params))
                     if wanted[name] and jnp.issubdtype(leaf.dtype, jnp.floating)
                     and name not in scales)
  if not trains:
    asked = [name for name in wanted if wanted[name]]
    why = (f"the {len(asked)} leaves that it asks for hold integers, e.g. {asked[0]}" if asked
           else "no rule says True")
    raise ValueError(f"trainable={rules!r} lets nothing train: {why}.")
  return trains


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
