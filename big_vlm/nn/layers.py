"""The parts that all towers share. Parameters start as float32; x.dtype is the compute dtype.

Every matmul with a weight goes through `einsum`, and every row of an embedding table through
`lookup`: there the weight wrappers of big_vlm/adapt (adapters, quantized weights) do their work.
"""
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from big_vlm import cpu, tpu
from big_vlm.nn import layer_matmul, partitioning


def einsum(eqn, x, w, dtype=None):
  """jnp.einsum(eqn, x, w), multiplied in x's dtype, summed and returned in `dtype` (None: x's).

  w: an array or a weight wrapper. An axis X of it keeps separate matrices side by side, such as
  keys and values; in the output it stands behind B and T. In front of them it makes XLA transpose,
  which on a CPU made the matmul of a decode step three times as slow and its gradient 13 to 18 %
  slower.
  """
  if hasattr(w, "einsum"):
    return w.einsum(eqn, x, dtype)
  if tpu.few_rows(x):
    full = jnp.pad(x, ((0, tpu.ROWS - len(x)), *((0, 0),) * (x.ndim - 1)))
    return einsum(eqn, full, w, dtype)[:len(x)]
  return jnp.einsum(eqn, x, w.astype(x.dtype), preferred_element_type=dtype)


# Columns of an embedding table that are looked up at a time where devices shard it.
COLUMNS = 512


def lookup(table, ids):
  """Rows [..., D] of a table [V, D] or of its weight wrapper; ids int32 [...].

  Devices that shard a table gather it for this, and gather its gradient before they shard it again:
  some columns at a time, since the 3.7 GB in float32 of a 9B model are a quarter of a chip.
  """
  if hasattr(table, "lookup"):
    return table.lookup(ids)
  width = table.shape[1]
  columns = max((n for n in range(128, COLUMNS + 1, 128) if width % n == 0), default=width)
  if columns == width or not partitioning.is_sharded():
    return table[ids]
  some = lambda first: jax.lax.dynamic_slice_in_dim(table, first, columns, axis=1)[ids]
  out = jax.lax.map(some, jnp.arange(0, width, columns))
  return jnp.moveaxis(out, 0, -2).reshape(*ids.shape, width)


def to_rank(v, x):
  """v with leading axes of size 1, as many as x has more: broadcasts against x's last axes."""
  return v.reshape((1,) * (x.ndim - v.ndim) + v.shape)


def fan_in(in_axes, batch_axes=()):
  """Truncated normal of variance 1 / fan-in. batch_axes: of weights stacked side by side, such as
  heads or gate and up; left out, they would count into the fan-in."""
  return nn.initializers.lecun_normal(in_axes, -1, batch_axes)


class Dense(nn.Module):
  """x @ kernel + bias over the last len(in_shape) axes of x; kernel is [*in_shape, *out_shape]."""
  eqn: str
  in_shape: tuple
  out_shape: tuple
  kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
  bias_init: nn.initializers.Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x):
    def init(rng, shape):  # the initializer sees the matrix, big_vision stores the heads apart
      flat = (math.prod(self.in_shape), math.prod(self.out_shape))
      return self.kernel_init(rng, flat, jnp.float32).reshape(shape)
    kernel = self.param("kernel", init, (*self.in_shape, *self.out_shape))
    bias = self.param("bias", self.bias_init, self.out_shape, jnp.float32)
    y = einsum(self.eqn, x, kernel)
    return y + to_rank(bias, y).astype(x.dtype)


class Weight(nn.Module):
  """One bias-free weight, stored as `w`: Gemma's einsums."""
  shape: tuple
  init: nn.initializers.Initializer

  @nn.compact
  def __call__(self, eqn, x):
    return einsum(eqn, x, self.param("w", self.init, self.shape, jnp.float32))


class RMSNorm(nn.Module):
  """x / sqrt(mean(x^2) + 1e-6) * (1 + scale), in float32; the scale is stored as offset from 1."""

  @nn.compact
  def __call__(self, x):
    scale = self.param("scale", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
    y = x.astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + 1e-6)
    return (y * (1 + to_rank(scale, y))).astype(x.dtype)


class LayerNorm(nn.Module):
  """LayerNorm over the last axis, in float32; eps is SigLIP's."""
  eps: float = 1e-6

  @nn.compact
  def __call__(self, x):
    scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
    y = x.astype(jnp.float32)
    y = y - jnp.mean(y, axis=-1, keepdims=True)
    y = y * jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + self.eps)
    return (y * to_rank(scale, y) + to_rank(bias, y)).astype(x.dtype)


def tied_head(x, table, width="D"):
  """Logits float32 [..., V] of x [..., D] by the embedding table [V, D]; width: D's letter."""
  if x.ndim == 2 and not hasattr(table, "einsum") and cpu.tuned():
    return cpu.tied_head(x, table)
  if not hasattr(table, "einsum") and layer_matmul.serves_head(x, table):
    return layer_matmul.head(x, table)
  return einsum(f"...{width},V{width}->...V", x, table, jnp.float32)


# Names that blocks give their activations by checkpoint_name: those about as wide as the model
# (queries, keys, values, what attention and MLP add to their input) and those inside the MLP. On a
# v5e a step of PaliGemma 3B at 224 px and 32 examples a chip holds 50 MB of each of the first a
# layer, and 805 MB of the second.
MODEL_WIDTH, MLP_WIDTH = "model_width", "mlp_width"
_POLICIES = jax.checkpoint_policies

# Which activations of a block are saved for the backward pass; it rematerializes the others. From
# the slowest to the fastest, and from the smallest to the largest.
REMAT = {
    "full": _POLICIES.nothing_saveable,  # but the block's input
    "offload": _POLICIES.save_and_offload_only_these_names(  # to the host's memory
        names_which_can_be_saved=[], names_which_can_be_offloaded=[MODEL_WIDTH],
        offload_src="device", offload_dst="pinned_host"),
    "save_attn": _POLICIES.save_only_these_names(MODEL_WIDTH),
    "save_mlp": _POLICIES.save_only_these_names(MODEL_WIDTH, MLP_WIDTH),
    "none": _POLICIES.everything_saveable,
}

def stacked(block, config, train, in_axes=0):
  """The module class `block` scanned over config.depth layers of stacked parameters.

  In training the backward pass rematerializes their activations as the row config.remat of REMAT
  says. What blocks sow into "intermediates" is stacked too.
  """
  if config.remat != "none" and train:
    block = nn.remat(block, policy=REMAT[config.remat], prevent_cse=False)
  return nn.scan(block, variable_axes={"params": 0, "intermediates": 0}, length=config.depth,
                 unroll=config.unroll, split_rngs={"params": True, "dropout": True},
                 in_axes=in_axes)


def softcap(x, cap):
  """cap * tanh(x / cap); None and 0 leave x as it is (Gemma 2 report, section 2)."""
  return jnp.tanh(x / cap) * cap if cap else x
