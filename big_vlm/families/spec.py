"""How a family declares its parameters: one row a leaf, from which all that depends on it follows.

A family's PARAMS maps the name of each leaf to a ParamSpec, in the order in which a token meets
them:

  "layers/attn/q_einsum/w": ParamSpec("L N D H", "projection", ins="D"),
  "layers/mlp/gating_einsum": ParamSpec("L 2 D F", "projection", ins="D"),

An axis is a letter, whose size axis_sizes(config) of the family gives, or a number: of matrices
side by side, such as gate and up. Letters mean the same in all families: L stacked layers,
V vocabulary, D width, N heads, K kv heads, H head dim, F mlp width, P positions (patches), p and q
rows and columns of a patch, C its channels, E width of a tower's output.
"""
import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

# The axes that the tensor axis of a mesh shards: heads, the MLP's width, the vocabulary. A block's
# first matmuls are then sharded in their outputs, its last ones in what they sum over, and
# activations are summed twice a block (Megatron-LM, arXiv 1909.08053).
TENSOR_AXES = "NKFV"
SIDE_BY_SIDE = "X"  # in einsum equations, of an axis that is a number here


class Traits(NamedTuple):
  multiplies: bool  # goes through layers.einsum: LoRA adapts it
  decays: bool  # takes part in weight decay by default
  float32: bool  # stays float32 whatever the dtype of the model


ROLES = {
    "projection": Traits(multiplies=True, decays=True, float32=False),
    "embedding": Traits(multiplies=True, decays=True, float32=False),  # the tied head too
    "table": Traits(multiplies=False, decays=False, float32=False),  # is only looked up
    "patch": Traits(multiplies=True, decays=True, float32=True),  # the patch embedding
    "position": Traits(multiplies=False, decays=False, float32=True),
    "scale": Traits(multiplies=False, decays=False, float32=True),
    "bias": Traits(multiplies=False, decays=False, float32=True),
    "probe": Traits(multiplies=False, decays=True, float32=True),  # of attention pooling
    "logit": Traits(multiplies=False, decays=False, float32=True),  # the logits' scale and bias
}


@dataclasses.dataclass(frozen=True)
class ParamSpec:
  """One leaf."""
  axes: str  # "L N D H"
  role: str  # a row of ROLES
  ins: str = ""  # of weights that multiply: the letters that the matmul sums over
  when: Callable | None = None  # config -> whether the model has this leaf; None: always

  @property
  def traits(self):
    return ROLES[self.role]

  @property
  def stacked(self):
    """Whether the first axis is that of layers."""
    return self.axes.startswith("L")

  @property
  def weight(self):
    """The letters of one layer in an einsum equation: "XKDH"."""
    letters = (SIDE_BY_SIDE if axis.isdigit() else axis for axis in self.axes.split())
    return "".join(letters).removeprefix("L")

  @property
  def side_by_side(self):
    """"X" where the leaf holds separate matrices, else ""."""
    return SIDE_BY_SIDE if SIDE_BY_SIDE in self.weight else ""

  @property
  def outs(self):
    """The letters that the weight adds to the output of its matmul: "KH"."""
    return "".join(c for c in self.weight if c not in self.ins + SIDE_BY_SIDE)

  def at(self, letters):
    """Where the letters stand among the axes, counted from the end: (-3, -1)."""
    return tuple(self.weight.index(c) - len(self.weight) for c in letters)

  def shape(self, sizes):
    """sizes: {letter: int}, axis_sizes(config) of the family."""
    return tuple(int(a) if a.isdigit() else sizes[a] for a in self.axes.split())

  @property
  def tensor_axis(self):
    """The axis that the mesh's tensor axis shards, counted from the end, or None."""
    found = [c for c in self.weight if c in TENSOR_AXES] if self.traits.multiplies else []
    return self.at(found[0])[0] if found else None

  @property
  def matrix_axes(self):
    """(axes of inputs, axes of outputs), the matrices that Muon makes orthogonal; None where Adam
    trains the leaf.

    Muon takes the projections of blocks. Layers, and matrices side by side, are matrices of their
    own.
    """
    if self.role != "projection" or not self.stacked:
      return None
    rank = len(self.axes.split())
    return tuple(tuple(i % rank for i in self.at(letters)) for letters in (self.ins, self.outs))


def dense(name, axes, ins, when=None):
  """The rows of a layers.Dense: a kernel and the bias of its outputs."""
  kernel = ParamSpec(axes, "projection", ins, when)
  bias = " ".join(("L" if kernel.stacked else "") + kernel.outs)
  return {f"{name}/kernel": kernel, f"{name}/bias": ParamSpec(bias, "bias", when=when)}


def layer_norm(name, axes, when=None):
  """The rows of a layers.LayerNorm."""
  return {f"{name}/{role}": ParamSpec(axes, role, when=when) for role in ("scale", "bias")}


def of(params, config):
  """The rows of PARAMS that the model of this config has."""
  return {name: spec for name, spec in params.items() if spec.when is None or spec.when(config)}


def count(family, config, roles=ROLES):
  """How many numbers a model of a family holds in the leaves of these roles."""
  sizes = family.axis_sizes(config)
  return sum(math.prod(spec.shape(sizes)) for spec in of(family.PARAMS, config).values()
             if spec.role in roles)
