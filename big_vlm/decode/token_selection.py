"""The likeliest token and log-probabilities of logits [R, V]."""
import jax
import jax.numpy as jnp

from big_vlm import cpu


def argmax(logits):
  """int32 [R]: argmax, the first where several are."""
  return cpu.argmax(logits) if cpu.tuned() else jnp.argmax(logits, axis=1).astype(jnp.int32)


def logprob(logits, token):
  """float32 [R]: log softmax(logits) at token int32 [R]."""
  if cpu.tuned():
    return cpu.logprob(logits, token)
  chosen = jnp.take_along_axis(logits, token[:, None], axis=1)[:, 0]
  return chosen - jax.nn.logsumexp(logits, axis=1)
