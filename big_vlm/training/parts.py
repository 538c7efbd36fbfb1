"""Microbatches: the parts of a batch that go through a model one after the other."""
import jax
import jax.numpy as jnp


def split(tree, parts):
  """Leaves [B, ...] -> [parts, B / parts, ...], so that rows stay on their devices: part i has
  every row whose number is i modulo `parts`."""
  return jax.tree.map(
      lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0), tree)


def join(tree):
  """The reverse of split(): leaves [parts, B / parts, ...] -> [B, ...]."""
  return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:]), tree)
