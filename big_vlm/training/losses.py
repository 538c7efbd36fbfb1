"""Losses over next tokens. B batch, T text, D width, V vocabulary."""
import jax
import jax.numpy as jnp


def token_nll(logits_fn, hidden, targets, chunk=64):
  """-log p(target) float32 [B, T], from hidden [B, T, D] and logits_fn: [B, t, D] -> [B, t, V].

  The logits are made chunk positions at a time and made again for the gradient, so that never more
  than [B, chunk, V] of them exist.
  """
  def nll(hidden, targets):
    logits = logits_fn(hidden)
    at_target = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - at_target

  length = targets.shape[1]
  if length <= chunk:
    return nll(hidden, targets)
  pad = -length % chunk
  split = lambda x: jnp.moveaxis(
      jnp.pad(x, ((0, 0), (0, pad)) + ((0, 0),) * (x.ndim - 2)).reshape(
          x.shape[0], -1, chunk, *x.shape[2:]), 1, 0)
  out = jax.lax.map(lambda c: jax.checkpoint(nll)(*c), (split(hidden), split(targets)))
  return jnp.moveaxis(out, 0, 1).reshape(targets.shape[0], -1)[:, :length]


def example_mean(nll, mask):
  """big_vision's loss: the mean over an example's supervised tokens, then over the examples."""
  per_example = jnp.sum(nll * mask, axis=1) / jnp.maximum(jnp.sum(mask, axis=1), 1)
  return jnp.mean(per_example)
