"""The einsum hook: weight wrappers in the parameter tree do the matmuls of the weights they wrap.

A weight wrapper is a pytree in the place of a weight: layers.einsum and layers.lookup hand their
work over to it. The wrappers are lora.LoRA and quantize.Quantized. Which weights multiply, and over
which axes, the families declare (families/spec.py).
"""
import jax

from big_vlm import trees
from big_vlm.families import paligemma


def multiplying(model):
  """{name: ParamSpec} of the weights of a model that go through layers.einsum."""
  return {name: spec for name, spec in paligemma.param_specs(model.config).items()
          if spec.traits.multiplies}


def is_wrapper(x):
  return hasattr(x, "einsum")


def weights(params):
  """{name: array or wrapper}: as trees.names, with a wrapper as the one leaf that it stands for."""
  leaves, treedef = jax.tree.flatten(params, is_leaf=is_wrapper)
  return dict(zip(trees.names(jax.tree.unflatten(treedef, range(len(leaves)))), leaves))


def replace(params, changed):
  """params with {name: array or wrapper} in place of the weights of these names."""
  leaves = {**weights(params), **changed}
  return jax.tree.unflatten(jax.tree.structure(params, is_leaf=is_wrapper), leaves.values())
