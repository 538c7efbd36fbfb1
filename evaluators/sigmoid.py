"""The sigmoid loss of pairs of an image and a text, for two towers: a training's on other data.

An image is compared with the texts of its batch, so that the loss grows with the eval's batch_size.
The last batch may have fewer.
"""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import distributed
from big_vlm.training import sigmoid
from evaluators.metrics import groups
from evaluators.predictions import require_keys

PERCENT = ()
PAIRS = True


def likelihoods(model, params, batch):
  """numpy float32 [B, 3] of each image: its loss, the logit of its own text, the mean of those of
  all others."""
  with jax.set_mesh(batch["text"].sharding.mesh):
    return distributed.fetch(_compared(model, params, batch))


@functools.partial(jax.jit, static_argnums=0)
def _compared(model, params, batch):
  zt, zi = model.apply({"params": params}, batch["text"], batch["image"], method="towers")
  found = sigmoid.pairs(zi, zt, params["t"], params["b"], batch["_mask"])
  others = jnp.maximum(jnp.sum(batch["_mask"]) - 1, 1)
  return jnp.stack([found.loss, found.positive, found.negative / others], axis=1)


def row(values, example, tokenizer):
  """The prediction's fields; values [3]: see likelihoods()."""
  loss, positive, negative = np.round(values[:3], 5).tolist()
  return {"suffix": tokenizer.to_str(example["text"]), "prediction": "", "loss": loss,
          "positive": positive, "negative": negative}


def score(predictions, tokenizer):
  """{"loss", "positives", "negatives"}: means over images of the loss, the logits of their own
  texts and those of all others."""
  del tokenizer
  require_keys(predictions, ["loss", "positive", "negative"], "sigmoid")
  for p in predictions:
    p.update(references=[p["suffix"]], score=p["loss"], correct=None)
  return {"loss": groups.mean(p["loss"] for p in predictions),
          "positives": groups.mean(p["positive"] for p in predictions),
          "negatives": groups.mean(p["negative"] for p in predictions)}
