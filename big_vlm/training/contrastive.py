"""The objective of two towers: to tell which images and texts of a batch belong together."""
import dataclasses

import jax
import jax.numpy as jnp

from big_vlm.adapt import lora
from big_vlm.families import paligemma
from big_vlm.nn.partitioning import shard_activations
from big_vlm.training import sigmoid
from big_vlm.training.parts import join, split


@dataclasses.dataclass(frozen=True)
class Sigmoid:
  """SigLIP's loss over all pairs of the batch, see sigmoid.py and objectives.py.

  With grad_accum_steps the loss is still that of the whole batch, as in GradCache (arXiv
  2101.06983): the towers embed all parts, the loss gives the gradients of the vectors, and the
  towers read each part again to take them further.
  """
  model: paligemma.PaliGemma

  def _vectors(self, params, batch, rng):
    """(of images, of texts), float32 [B, D] of length 1."""
    zt, zi = self.model.apply(
        {"params": lora.with_dropout(params, rng)}, batch["text"], batch["image"], train=True,
        rngs={"dropout": rng}, method="towers")
    return zi, zt

  def _compared(self, params, batch, rng):
    """(loss, metrics)."""
    return sigmoid.loss(*self._vectors(params, batch, rng), params["t"], params["b"])

  def loss(self, params, batch, rng):
    return self._compared(params, batch, rng)[0]

  def gradients(self, whole, trainable, batch, rng, grad_accum_steps=1):
    params = whole(trainable)
    known = {"temperature": jnp.exp(params["t"][0]), "bias": params["b"][0]}
    if grad_accum_steps > 1:
      (value, metrics), grads = self._accumulated(whole, trainable, batch, rng, grad_accum_steps)
    else:
      (value, metrics), grads = jax.value_and_grad(
          lambda trainable: self._compared(whole(trainable), batch, rng), has_aux=True)(trainable)
    return value, grads, known | metrics

  def _accumulated(self, whole, trainable, batch, rng, steps):
    """((loss, metrics), gradients)."""
    params, parts = whole(trainable), (split(batch, steps), jax.random.split(rng, steps))
    vectors = jax.lax.map(lambda part: self._vectors(params, *part), parts)
    vectors = jax.tree.map(shard_activations, join(vectors))
    found, (*of_vectors, of_t, of_b) = sigmoid.value_and_gradients(
        *vectors, params["t"], params["b"])

    def add(total, part):
      inputs, of_vectors = part

      def of(trainable):
        params = whole(trainable)
        scale = jnp.sum(params["t"] * of_t + params["b"] * of_b) / steps
        return scale + sum(map(jnp.vdot, self._vectors(params, *inputs), of_vectors))
      return jax.tree.map(jnp.add, total, jax.grad(of)(trainable)), None
    zero = jax.tree.map(jnp.zeros_like, trainable)
    return found, jax.lax.scan(add, zero, (parts, split(tuple(of_vectors), steps)))[0]

  def stages(self, batch, rng):
    def each(params, batch):
      vectors = self._vectors(params, batch, rng)
      return sigmoid.pairs(*vectors, params["t"], params["b"]).loss
    return [("the vectors that the image tower makes",
             lambda params, batch: self._vectors(params, batch, rng)[0]),
            ("the vectors that the text tower makes",
             lambda params, batch: self._vectors(params, batch, rng)[1]),
            ("the loss", each)]
