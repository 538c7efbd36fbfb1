"""The released models of OPT."""

# The fields that a model is told by.
SIZES = {"width", "depth", "mlp", "heads", "embed_width", "post_norm"}
MODELS = {"OPT 125m": "opt_125m", "OPT 350m": "opt_350m", "OPT 1.3b": "opt_1.3b",
          "OPT 2.7b": "opt_2.7b", "OPT 6.7b": "opt_6.7b"}
KAGGLE = [("keras/opt", name, f"{variant}_en/3") for name, variant in MODELS.items()
          if variant != "opt_350m"]  # KerasHub has none
HUGGING_FACE = [("facebook", name, variant.replace("_", "-")) for name, variant in MODELS.items()]


def family_name(config):
  return "OPT"
