"""The seam: which parameters multiply, and how; found by tracing the model, written nowhere else.

A node is a pytree that stands in for a weight in the parameter tree: layers.einsum and
layers.lookup hand the work over to it. The nodes are lora.LoRA, quantize.Quantized and EinsumRecorder here.

The letters of a product "BTD,XNDH->BTXNH" (input, weight, output) say what a weight's axes are:
D, summed over, goes in; N and H come out; X keeps separate matrices side by side (keys and values,
gate and up). A weight of stacked layers has one axis more, in front, which no letter names.
"""
import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from big_vlm import trees
from big_vlm.families import paligemma

STACK = "X"


@dataclasses.dataclass(frozen=True)
class EinsumSpec:
  """An einsum of an input with a weight."""
  eqn: str

  @property
  def weight(self):
    """Letters of the weight's axes: "XNDH" """
    return self.eqn.split("->")[0].split(",")[1]

  @property
  def ins(self):
    """Those summed over: "D"."""
    return "".join(c for c in self.weight if c not in self.output and c != STACK)

  @property
  def outs(self):
    """Those that the weight adds to the output: "NH"."""
    return "".join(c for c in self.weight if c in self.output and c != STACK)

  @property
  def stack(self):
    """"X" or ""."""
    return STACK if STACK in self.weight else ""

  @property
  def input(self):
    return self.eqn.split(",")[0]

  @property
  def output(self):
    return self.eqn.split("->")[1]

  def axes(self, letters):
    """Where the letters stand among the weight's axes, counted from the end: (-4, -1)."""
    return tuple(self.weight.index(c) - len(self.weight) for c in letters)

  def layers(self, weight):
    """Shape of the axes in front of a weight (array or shape) that no letter names: () or (N,)."""
    return weight.shape[:len(weight.shape) - len(self.weight)]


@flax.struct.dataclass
class EinsumRecorder:
  """Notes the equation it is multiplied by; where a parameter is used otherwise it is the array."""
  array: jax.Array
  note: Any = flax.struct.field(pytree_node=False)

  def einsum(self, eqn, x, dtype):
    self.note(eqn)
    return jnp.einsum(eqn, x, self.array.astype(x.dtype), preferred_element_type=dtype)

  def lookup(self, ids):
    return self.array[ids]

  def __getitem__(self, index):
    return self.array[index]

  def __jax_array__(self):
    return self.array

  def __getattr__(self, name):
    return getattr(self.array, name)


def products(model):
  """{leaf name: Product} of all weights of a model that multiply, in the order of its leaves.

  One abstract run of the model with a EinsumRecorder in place of each parameter; nothing is computed.
  """
  config, found = model.config, {}

  def run(params):
    variables = {"params": params}
    image = config.img and jnp.zeros((1, config.img.image_size, config.img.image_size, 3))
    if config.llm is None:
      return model.apply(variables, image, method="embed_image")
    text = jnp.zeros((1, 2), jnp.int32)
    hidden = model.apply(variables, text, text, image)
    return model.apply(variables, hidden, method="logits")

  shapes = jax.eval_shape(lambda: paligemma.init_params(model, jax.random.key(0)))
  probe = lambda name, leaf: EinsumRecorder(leaf, lambda eqn: found.setdefault(name, EinsumSpec(eqn)))
  jax.eval_shape(run, trees.map_with_names(probe, shapes))
  return {name: found[name] for name in trees.names(shapes) if name in found}


def is_node(x):
  return hasattr(x, "einsum")


def weights(params):
  """{name: array or node}: as trees.names, but a node counts as the one leaf it stands for."""
  leaves, treedef = jax.tree.flatten(params, is_leaf=is_node)
  return dict(zip(trees.names(jax.tree.unflatten(treedef, range(len(leaves)))), leaves))


def replace(params, changed):
  """params with {name: array or node} in place of the weights of these names."""
  leaves = {**weights(params), **changed}
  return jax.tree.unflatten(jax.tree.structure(params, is_leaf=is_node), leaves.values())
