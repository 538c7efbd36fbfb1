"""Samplers: (logits float32 [B, V], one random key per row) -> tokens int32 [B]."""
import jax
import jax.numpy as jnp

from pp.registry import Registry

SAMPLERS = Registry("sampler")


@SAMPLERS.register("greedy")
def greedy():
  return lambda logits, keys: jnp.argmax(logits, axis=-1).astype(jnp.int32)


@SAMPLERS.register("temperature")
def temperature(t=1.0):
  """Draws from softmax(logits / t)."""
  if not t > 0:
    raise ValueError(f"temperature({t}): the temperature must be above 0; 'greedy' is its limit.")
  return lambda logits, keys: jax.vmap(jax.random.categorical)(keys, logits / t).astype(jnp.int32)
