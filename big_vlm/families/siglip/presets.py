"""The released models of SigLIP; the image size is the number at the end of a name."""

SIZES = {"width", "depth", "mlp", "heads", "patch"}  # the fields that a model is told by
MODELS = {"SigLIP B/16": "B/16", "SigLIP L/16": "L/16", "SigLIP So400m/14": "So400m/14"}
KAGGLE = []
HUGGING_FACE = [
    ("google", "SigLIP B/16",
     "siglip-base-patch16-224 siglip-base-patch16-256 siglip-base-patch16-384 "
     "siglip-base-patch16-512"),
    ("google", "SigLIP L/16", "siglip-large-patch16-256 siglip-large-patch16-384"),
    ("google", "SigLIP So400m/14", "siglip-so400m-patch14-224 siglip-so400m-patch14-384"),
]


def family_name(config):
  return "SigLIP"
