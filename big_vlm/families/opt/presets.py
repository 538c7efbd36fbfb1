"""The released models of OPT."""

SIZES = {"width", "depth", "mlp", "heads"}  # the fields that a model is told by
MODELS = {"OPT 125m": "opt_125m", "OPT 1.3b": "opt_1.3b", "OPT 2.7b": "opt_2.7b",
          "OPT 6.7b": "opt_6.7b"}
KAGGLE = [("keras/opt", name, f"{variant}_en/3") for name, variant in MODELS.items()]
HUGGING_FACE = [("facebook", name, variant.replace("_", "-")) for name, variant in MODELS.items()]


def family_name(config):
  return "OPT"
