"""Losses over next tokens. B batch, T text, C positions of a chunk, D width, V vocabulary.

A loss is a sum over tokens of weight * token loss. The weights normalize it, and are known before
the model runs: a sum over parts of a batch or over hosts is then the loss of the whole.
"""
import functools
import math

import jax
import jax.numpy as jnp

from big_vlm import sharding
from pp.names import pick

CHUNK_TOKENS = 1024  # of a device, whose logits exist at once: 1 GiB at V = 257,152
LOOP = "supervised_chunks"  # name in a compiled program of the loop over chunks


def _by_example(mask, segment):
  if segment is None:
    return mask / jnp.maximum(jnp.sum(mask, 1, keepdims=True), 1) / len(mask)
  numbers = mask.shape[1] + 2  # an example has two tokens at least, of which one may be cut off
  sums = jax.vmap(functools.partial(jax.ops.segment_sum, num_segments=numbers))(mask, segment)
  tokens = jnp.take_along_axis(sums, segment, axis=1)
  return mask / jnp.maximum(tokens, 1) / jnp.sum(jnp.max(segment, axis=1))


# "example": the mean of the examples' means over their tokens, as in big_vision: a short answer
# weighs as much as a long one. "token": the mean over all tokens of the batch. "sequence": the mean
# of the examples' sums, of the negative log-likelihoods of whole answers.
NORMALIZATIONS = {
    "example": _by_example,
    "token": lambda mask, segment: mask / jnp.maximum(jnp.sum(mask), 1),
    "sequence": lambda mask, segment: mask / (
        len(mask) if segment is None else jnp.sum(jnp.max(segment, axis=1))),
}


def token_weights(mask, normalization="example", segment=None):
  """float32 [B, T] of mask_loss [B, T], 1 where a token is supervised.

  normalization: a row of NORMALIZATIONS. segment: int32 [B, T] of rows that hold several examples,
  see big_vlm/batch.py.
  """
  weigh = pick(NORMALIZATIONS, normalization, "loss_normalization")
  return weigh(mask.astype(jnp.float32), segment)


def batch_weights(batch, normalization="example"):
  """token_weights of the tokens that a batch predicts, float32 [B, T - 1]; times "loss_weight", of
  any sign, [B, T], where policy.py has put one."""
  segment = batch.get("segment")
  weights = token_weights(batch["mask_loss"][:, 1:], normalization,
                          None if segment is None else segment[:, 1:])
  return weights * batch["loss_weight"][:, 1:] if "loss_weight" in batch else weights


def token_loss(logits, targets, label_smoothing=0., z_loss=0.):
  """float32 [...] of logits [..., V] and targets [...].

  Cross-entropy with 1 - label_smoothing on the target and the rest spread evenly over the V - 1
  others, as big_vision's, plus z_loss * log(sum(exp(logits)))^2 (PaLM, arXiv 2204.02311, section
  5), which keeps the logits from drifting.
  """
  norm = jax.nn.logsumexp(logits, axis=-1)
  at_target = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
  if label_smoothing:
    others = (jnp.sum(logits, axis=-1) - at_target) / (logits.shape[-1] - 1)
    at_target = (1 - label_smoothing) * at_target + label_smoothing * others
  return norm - at_target + z_loss * jnp.square(norm)


def weighted_sum(logits_fn, hidden, targets, weights, *, chunk=None, **kw):
  """Sum of weights * token_loss(logits_fn(hidden), targets, **kw), float32 [].

  The tokens that have a weight move to the front of their rows, and logits are computed for them
  alone, `chunk` positions of all rows at a time; the loop iterates as often as the row with most
  such tokens needs. It takes a chunk's gradient while its logits exist: they are never computed
  twice, and never more than [B, chunk, V] of them exist.

  Args:
    logits_fn: [B, C, D] -> float32 [B, C, V]; its closure is differentiated too.
    hidden: [B, T, D].
    targets, weights: int and float32 [B, T]; weights get no gradient.
    chunk: None: of CHUNK_TOKENS tokens a device, and at most half of T.
  """
  chunk = chunk or chunk_size(*targets.shape)
  pad = -targets.shape[1] % chunk
  hidden, targets, weights = (
      jnp.pad(x, ((0, 0), (0, pad)) + ((0, 0),) * (x.ndim - 2)) for x in (hidden, targets, weights))
  head, closure = jax.closure_convert(logits_fn, hidden[:, :chunk])

  def of_chunk(closure, hidden, targets, weights):
    return jnp.sum(weights * token_loss(head(hidden, *closure), targets, **kw))

  order = jnp.argsort(weights == 0, axis=1, stable=True)  # tokens with a weight come first
  front = lambda x: jnp.take_along_axis(x, order.reshape(order.shape + (1,) * (x.ndim - 2)), axis=1)
  targets, weights = front(targets), front(weights)
  iterations = -(-jnp.max(jnp.sum(weights != 0, axis=1)) // chunk)

  def at(i, *arrays):
    return [jax.lax.dynamic_slice_in_dim(x, i * chunk, chunk, axis=1) for x in arrays]

  @jax.custom_vjp
  def total(closure, hidden):
    hidden = front(hidden)
    add = lambda i, loss: loss + of_chunk(closure, *at(i, hidden, targets, weights))
    return jax.lax.fori_loop(0, iterations, add, jnp.float32(0))

  def forward(closure, hidden):
    hidden = front(hidden)

    def add(i, carry):
      loss, of_closure, of_hidden = carry
      value, (dc, dh) = jax.value_and_grad(of_chunk, (0, 1))(
          closure, *at(i, hidden, targets, weights))
      of_hidden = jax.lax.dynamic_update_slice_in_dim(of_hidden, dh, i * chunk, axis=1)
      return loss + value, jax.tree.map(jnp.add, of_closure, dc), of_hidden

    zeros = jax.tree.map(jnp.zeros_like, (closure, hidden))
    with jax.named_scope(LOOP):
      loss, of_closure, of_hidden = jax.lax.fori_loop(0, iterations, add, (jnp.float32(0), *zeros))
    back = jnp.argsort(order, axis=1)[..., None]
    return loss, (of_closure, jnp.take_along_axis(of_hidden, back, axis=1))

  def backward(gradients, g):
    return jax.tree.map(lambda x: (g * x).astype(x.dtype), gradients)

  total.defvjp(forward, backward)
  return total(closure, hidden)


def chunk_size(rows, length):
  """Positions of a chunk for a batch of `rows`, over the devices of the mesh that is set."""
  local = max(rows // sharding.batch_rows(jax.sharding.get_abstract_mesh()), 1)
  return max(min(CHUNK_TOKENS // local, math.ceil(length / 2)), 1)


def most_iterations(rows, length):
  """Iterations of the loop over chunks where every token of a row is supervised."""
  return -(-length // chunk_size(rows, length))
