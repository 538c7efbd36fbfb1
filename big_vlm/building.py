"""A model of a config, with the shapes and dtypes of its parameters."""
import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import sharding, trees
from big_vlm.adapt import quantize
from big_vlm.checkpoints import load
from big_vlm.families import paligemma
from pp.names import near_miss

DTYPES = ("float32", "bfloat16", "float16")


def compute_dtype(dtype, mesh):
  """The name of a compute dtype, of the name or type that a user gives; "auto" is bfloat16 on TPU
  and GPU. ValueError for an unknown one."""
  if isinstance(dtype, type | np.dtype):  # jnp.bfloat16, np.dtype("float32")
    dtype = jnp.dtype(dtype).name
  if dtype not in ("auto", *DTYPES):
    more = f" For {dtype} weights: from_preset(...).quantize({dtype!r})." * (
        dtype in quantize.KINDS)
    raise ValueError(f"dtype={dtype!r} is none of auto, {', '.join(DTYPES)}."
                     f"{more or near_miss(dtype, DTYPES)}")
  return sharding.dtype_on(mesh, dtype)


def shapes(config, dtype, kind=None):
  """(model, function of a seed that makes its random parameters, their shapes and dtypes); kind: of
  quantized weights."""
  model = paligemma.PaliGemma(paligemma.with_dtype(config, dtype))
  fresh = lambda seed: trees.map_with_names(
      lambda name, x: x.astype(load.dtype_of(name, dtype)),
      paligemma.init_params(model, jax.random.key(seed)))
  stored = lambda x: quantize.quantize(model, x, kind) if kind else x
  return model, fresh, jax.eval_shape(lambda: stored(fresh(0)))
