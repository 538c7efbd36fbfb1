"""SigLIP's vision transformer (arXiv 2303.15343)."""
from big_vlm.families.siglip.model import PARAMS, PLACES, axis_sizes
from big_vlm.families.siglip.model import ViT as Model
from big_vlm.families.siglip.variants import VARIANTS, ViTConfig, config

Config = ViTConfig

__all__ = ["PARAMS", "PLACES", "VARIANTS", "Config", "Model", "ViTConfig", "axis_sizes", "config"]
