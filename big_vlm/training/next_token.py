"""The objective of a decoder: to predict the next token of the suffixes of a batch."""
import dataclasses

import jax
import jax.numpy as jnp

from big_vlm.adapt import lora
from big_vlm.families import paligemma
from big_vlm.training import losses
from big_vlm.training.parts import split


def hidden_states(model, params, batch, rng):
  """Of all text tokens but the last, [B, T - 1, D]."""
  segment = batch.get("segment")
  return model.apply(
      {"params": lora.with_dropout(params, rng)}, batch["text"][:, :-1],
      batch["mask_ar"][:, :-1], batch.get("image"),
      segment=None if segment is None else segment[:, :-1],
      image_segment=batch.get("image_segment"), train=True, rngs={"dropout": rng})


def loss_fn(model, params, batch, weights, rng, label_smoothing=0., z_loss=0.):
  """Sum of the weighted losses of text[:, 1:], float32 []; weights: float32 [B, T - 1]."""
  hidden = hidden_states(model, params, batch, rng)
  logits = lambda h: model.apply({"params": params}, h, method="logits")
  return losses.weighted_sum(logits, hidden, batch["text"][:, 1:], weights,
                             label_smoothing=label_smoothing, z_loss=z_loss)


@dataclasses.dataclass(frozen=True)
class NextToken:
  """See objectives.py. loss_normalization: a row of losses.NORMALIZATIONS."""
  model: paligemma.PaliGemma
  loss_normalization: str = "example"
  label_smoothing: float = 0.
  z_loss: float = 0.

  @property
  def _loss(self):
    return dict(label_smoothing=self.label_smoothing, z_loss=self.z_loss)

  def _weights(self, batch):
    return losses.batch_weights(batch, self.loss_normalization)

  def loss(self, params, batch, rng):
    return loss_fn(self.model, params, batch, self._weights(batch), rng, **self._loss)

  def gradients(self, whole, trainable, batch, rng, grad_accum_steps=1):
    weights = self._weights(batch)
    metrics = {"supervised_tokens": jnp.sum(batch["mask_loss"][:, 1:])}

    def of(trainable, part, weights, rng):
      return loss_fn(self.model, whole(trainable), part, weights, rng, **self._loss)
    if grad_accum_steps == 1:
      return *jax.value_and_grad(of)(trainable, batch, weights, rng), metrics

    def add(total, part):
      return jax.tree.map(jnp.add, total, jax.value_and_grad(of)(trainable, *part)), None
    parts = (*split((batch, weights), grad_accum_steps), jax.random.split(rng, grad_accum_steps))
    zero = (jnp.float32(0), jax.tree.map(jnp.zeros_like, trainable))
    return *jax.lax.scan(add, zero, parts)[0], metrics

  def stages(self, batch, rng):
    model = self.model
    found = [("the hidden states of the language model",
              lambda params, batch: hidden_states(model, params, batch, rng)),
             ("the loss", lambda params, batch: self._each(params, batch, rng))]
    if "image" in batch:
      found.insert(0, ("the image tokens that the image tower makes", lambda params, batch:
                       model.apply({"params": params}, batch["image"], method="embed_image")))
    return found

  def _each(self, params, batch, rng):
    """The loss of each row, float32 [B]."""
    logits = lambda h: self.model.apply({"params": params}, h, method="logits")
    of_row = lambda row: losses.weighted_sum(logits, *jax.tree.map(lambda x: x[None], row),
                                             **self._loss)
    hidden = hidden_states(self.model, params, batch, rng)
    return jax.lax.map(of_row, (hidden, batch["text"][:, 1:], self._weights(batch)))
