"""SigLIP's text tower, which gives a text the vector that images are compared with."""
from big_vlm.families.siglip.text.model import PARAMS, PLACES, axis_sizes
from big_vlm.families.siglip.text.model import TextTower as Model
from big_vlm.families.siglip.text.variants import VARIANTS, TextConfig, config

Config = TextConfig

__all__ = ["PARAMS", "PLACES", "VARIANTS", "Config", "Model", "TextConfig", "axis_sizes", "config"]
