"""A model of a config with the shapes and dtypes of its parameters, and parameters as leaves of a
checkpoint."""
import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import sharding, trees
from big_vlm.adapt import materialize, quantize
from big_vlm.checkpoints import load as loading
from big_vlm.checkpoints.checkpoint import from_array
from big_vlm.config_fields import DTYPES
from big_vlm.families import paligemma
from pp.names import near_miss


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
      lambda name, x: x.astype(loading.dtype_of(name, dtype)),
      paligemma.init_params(model, jax.random.key(seed)))
  stored = lambda x: quantize.quantize(model, x, kind) if kind else x
  return model, fresh, jax.eval_shape(lambda: stored(fresh(0)))


def load(opened, config, dtype, mesh, rules=sharding.RULES):
  """(model, parameters on the mesh) of a Checkpoint, as the model of `config` computes in dtype.

  Quantized weights stay as they are stored. Raises ValueError for what does not fit.
  """
  found, kind = loading.fit(opened, config), None
  if opened.quantized:
    found = {name: found.get(name, leaf) for name, leaf in opened.stored.items()}
    kind = next(str(x.dtype) for name, x in found.items() if name.endswith("/q"))
  model, _, kinds = shapes(config, dtype, kind)
  return model, loading.params(found, sharding.tree_sharding(mesh, kinds, rules), dtype)


def leaves(params, config, quantized=False):
  """({name: leaf} of plain weights, {name: leaf} as they are stored or None where it is the same)
  of parameters; ValueError for adapters, and for quantized weights unless these are wanted."""
  stored = {name: from_array(x) for name, x in zip(trees.names(params), jax.tree.leaves(params))}
  parts = ("lora_a",) if quantized else ("lora_a", "q")
  if names := [n for n in stored if n.rpartition("/")[2] in parts]:
    raise ValueError(
        f"{names[0]} is adapted or quantized, which this checkpoint format does not hold. Call "
        "merge_lora() first, export the model that quantize() was called on, or write quantized "
        "weights with format='native' and adapters alone with format='peft'.")
  plain = materialize.materialize_weights(stored, config, None)
  return plain, stored if set(stored) != set(plain) else None
