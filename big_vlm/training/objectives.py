"""What a training minimizes: config.loss.name is a row of OBJECTIVES, the rest its arguments.

An objective is a frozen dataclass of a model and the arguments, with

  loss(params, batch, rng)   float32 []
  gradients(whole, trainable, batch, rng, grad_accum_steps=1)   (loss, gradients of trainable,
      {metric: scalar}); whole(trainable) -> params. The batch goes through the model in so many
      parts, one after the other, and the loss is that of the whole batch.
  stages(batch, rng)   [(what it is, function (params, batch) -> [B, ...])], from the pixels to the
      loss of each row: where the NaN guard looks
"""
import dataclasses

from big_vlm.training.contrastive import Sigmoid
from big_vlm.training.next_token import NextToken
from pp.names import check_names, pick

OBJECTIVES = {"next_token": NextToken, "sigmoid": Sigmoid}


def make(model, name="next_token", **args):
  """The objective of a model and a config's loss. Raises ValueError for an unknown name or argument
  and for one that belongs to another objective."""
  chosen = pick(OBJECTIVES, name, "config.loss.name")
  defaults = {field.name: field.default for objective in OBJECTIVES.values()
              for field in dataclasses.fields(objective) if field.name != "model"}
  check_names(args, list(defaults), "config.loss")
  mine = {field.name for field in dataclasses.fields(chosen)}
  for field, value in args.items():
    if field not in mine and value != defaults[field]:
      raise ValueError(f"config.loss.{field}={value!r}, but the loss {name!r} has no {field}.")
  return chosen(model, **{field: value for field, value in args.items() if field in mine})


def check(config):
  """Raises ValueError where a training's config does not fit its loss: its model, its batches."""
  name, model = config.loss.name, config.model
  pick(OBJECTIVES, name, "config.loss.name")
  if name == "next_token":
    if not model.llm and model.get("txt"):
      raise ValueError("config.loss.name='next_token' trains a decoder, and this model is two "
                       "towers: take 'sigmoid'.")
    return
  if not (model.img and model.get("txt")) or model.llm:
    raise ValueError(f"config.loss.name={name!r} compares the vectors of two towers: give "
                     "model.img and model.txt, and no model.llm.")
  if model.img.get("naflex"):
    raise ValueError("A NaFlex tower cannot be trained here: its batches have patches of images of "
                     "any shape. Leave model.img.naflex out; init.img takes its weights.")
  if config.input.packing != "none":
    raise ValueError(f"config.input.packing={config.input.packing!r}, but a text tower reads rows "
                     f"of one length, one text each, for the loss {name!r}: take 'none'.")
