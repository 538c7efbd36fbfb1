"""A text tower alone is not released; its names in words."""

SIZES = {"width", "depth", "mlp", "heads"}  # the fields that a model is told by
MODELS, KAGGLE, HUGGING_FACE = {}, [], []


def family_name(config):
  return "SigLIP text tower"
