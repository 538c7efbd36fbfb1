"""Every example of a source through a model, batch by batch: for evaluators and tools.predict.

Each process reads and preprocesses its rows of every batch, and process 0 gets the predictions, in
order. What a model makes of a batch is a function answer(device, at, real), called with the batch's
arrays, the indices of its examples, int [B], and which rows are real, bool [B]. It returns a
function (row of this process, row of the whole batch) -> fields of the prediction.
"""
import hashlib

import numpy as np

from big_vlm import distributed, sharding
from big_vlm.data import loader
from big_vlm.decode import logit_rules
from big_vlm.decode.session import Batch, GenerationSession
from evaluators.predictions import gather_in_order, to_display, to_json, whole_picture

STRIDE = 0x9E3779B1  # between two seeds of a config: odd, so that 2**32 of them differ


def predictions(examples, preprocess, answer, mesh, batch_size, *, start=0, images=0,
                check=lambda device, host: None):
  """Yields ([prediction], batches in all) of each batch from the example `start` on; [] on
  processes but the first.

  images: so many of the first examples get their "image", and "whole" where the picture as it came
  is another. check(device, host): sees the first batch before it is answered.
  """
  places = sharding.local_batch_rows(mesh, batch_size)
  batches, count = loader.eval_batches(examples, preprocess, batch_size, rows=places, start=start)
  for i, batch in enumerate(batches):
    device, host = loader.split_batch(batch)
    if i == 0:
      check(device, host)
    at = start + i * batch_size + np.arange(batch_size)  # indices of the examples
    real, mine = at < len(examples), {}
    fields = answer(device, at, real)
    for j, place in enumerate(places):
      if real[place]:
        known = known_of(device, host, j)
        if "image" in device and at[place] < images:
          known |= pictures(device["image"][j], examples[int(at[place])])
        mine[int(at[place])] = {**known, **fields(j, place)}
    yield gather_in_order(mine, at[real]), count


class Decoder:
  """The answer() of predictions() for a model that decodes; config: a GenerationConfig."""

  def __init__(self, model, tokenizer, mesh, batch_size, config):
    self._model, self._tokenizer, self._mesh = model, tokenizer, mesh
    self._batch_size, self._config = batch_size, config

  def check(self):
    """Raises ValueError for a config that this model cannot decode by."""
    GenerationSession(self._model, None, self._tokenizer, self._config)
    self._rules(1)

  def _rules(self, rows):
    return logit_rules.of(self._config, [], rows, self._tokenizer,
                          self._model.config.llm.vocab_size)

  def answer(self, params, device, at, real):
    """See above; padding rows are not waited for."""
    config = self._config
    session = GenerationSession(self._model, params, self._tokenizer, config)
    device = {k: v for k, v in device.items() if k != "_mask"}
    arrays, rules = sharding.make_global_array(self._mesh, device, self._batch_size), None
    session.check_room(config.max_new_tokens, "an answer of the eval")
    if config.grammar:  # by the prompts as the model reads them, on every process all
      texts, inside = distributed.fetch((arrays["text"], arrays["mask_input"]))
      rules = session.grammar([t[i > 0] for t, i in zip(texts[real], inside[real])], len(at))
    # The seed of a draw is a function of the example: neither batch size nor mesh changes it.
    seeds = at[:, None] * session.samples + np.arange(session.samples) + config.seed * STRIDE
    found = session.answers([Batch(
        len(at), arrays, limit=np.where(real, config.max_new_tokens, 0).astype(np.int32),
        seeds=(seeds.reshape(-1) % 2**32).astype(np.uint32), new=max(config.max_new_tokens, 1),
        fsm=rules, logit_rules=self._rules(len(at)))])

    def fields(j, place):
      del j
      g = found[place]
      return {"prediction": g.text, "tokens": g.tokens, "finish_reason": g.finish_reason,
              "logprobs": np.round(g.logprobs, 5).tolist()}
    return fields


def pictures(image, example):
  """{"image": what the model sees, "whole": the picture as it came, where that is another}."""
  shown = to_display(image)
  whole = whole_picture(example, shown)
  return {"image": shown} | ({} if whole is None else {"whole": whole})


def known_of(device, host, j):
  """What the prediction of row j of a batch has of its example."""
  known = to_json({k: v[j] for k, v in host.items()})
  known.setdefault("id", known["_id"])
  if "image" not in device:
    return known
  image = device["image"][j]
  return known | {"image_size": list(image.shape[-3:-1]), "image_digest": hashlib.blake2b(
      image.tobytes(), digest_size=8).hexdigest()}
